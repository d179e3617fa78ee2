//! The names that tensors of one model go by in files of different makers.

/// The name that [`crate::config::ModelConfig::expected_tensors`] uses for a tensor that a file
/// calls `stored`.
///
/// Multimodal checkpoints (Gemma 3 from 4B up) hold the decoder under a prefix that has changed
/// twice, and a bare decoder, saved without its head, has none.
pub(super) fn canonical(stored: &str) -> String {
    const DECODER: [&str; 3] = [
        "language_model.model.",
        "model.language_model.",
        "language_model.",
    ];
    const BARE: [&str; 3] = ["embed_tokens.", "layers.", "norm."];
    if let Some(head) = stored.strip_prefix("language_model.lm_head.") {
        return format!("lm_head.{head}");
    }
    if let Some(rest) = DECODER
        .iter()
        .find_map(|prefix| stored.strip_prefix(prefix))
    {
        return format!("model.{rest}");
    }
    if BARE.iter().any(|prefix| stored.starts_with(prefix)) {
        format!("model.{stored}")
    } else {
        stored.to_owned()
    }
}

/// The vision half of a multimodal checkpoint, which the decoder has no use for.
pub(super) fn is_vision(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    ["vision_tower.", "vision_model.", "multi_modal_projector."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Buffers that old versions of transformers saved and every version computes.
pub(super) fn is_computed(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_makers_name_of_a_tensor_becomes_the_same() {
        for stored in [
            "model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
            "language_model.model.layers.0.mlp.up_proj.weight",
            "model.language_model.layers.0.mlp.up_proj.weight",
            "language_model.layers.0.mlp.up_proj.weight",
        ] {
            assert_eq!(canonical(stored), "model.layers.0.mlp.up_proj.weight");
        }
        assert_eq!(canonical("language_model.lm_head.weight"), "lm_head.weight");
        assert_eq!(canonical("lm_head.weight"), "lm_head.weight");
        assert_eq!(canonical("norm.weight"), "model.norm.weight");
    }

    #[test]
    fn vision_tensors_and_computed_buffers_are_told_apart() {
        assert!(is_vision(
            "vision_tower.vision_model.embeddings.patch_embedding.weight"
        ));
        assert!(is_vision(
            "model.multi_modal_projector.mm_soft_emb_norm.weight"
        ));
        assert!(!is_vision("model.norm.weight"));
        assert!(is_computed("model.layers.3.self_attn.rotary_emb.inv_freq"));
    }
}
