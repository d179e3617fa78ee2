use super::*;
use crate::test_model::TestModel;

const GEMMA: &str = "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const GENERATION: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}BODY{% endgeneration %}TAIL{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// As Qwen 3: the last answer gets a thinking part, earlier ones lose theirs.
const THINKING: &str = "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'assistant' %}{% set content = m.content %}{% set thoughts = '' %}{% if '</think>' in content %}{% set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}{{ '<|im_start|>assistant\n' }}{% if loop.index0 > ns.last %}{{ '<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{% else %}{{ content }}{% endif %}{{ '<|im_end|>\n' }}{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// As Phi 3: the whole conversation is closed by a further token.
const CLOSED: &str = "{% for m in messages %}{{ m.role + ':\n' + m.content + ' <|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}";

fn chat(name: &str, template: &str) -> ChatTokenizer {
    let (model, start) = if template == GEMMA {
        (TestModel::gemma(name, Some(template)), DocumentStart::Bos)
    } else {
        (TestModel::chatml(name, Some(template)), DocumentStart::Text)
    };
    ChatTokenizer::from_dir(model.path(), start).unwrap()
}

fn conversation() -> Vec<Message> {
    vec![
        Message::user("The tower?"),
        Message::assistant("Der Turm 塔."),
        Message::user("Again"),
        Message::assistant(" tower\n"),
    ]
}

/// The supervised stretches as text; checks that the ids are those of the whole text.
fn learnt(chat: &ChatTokenizer, messages: &[Message], turns: AssistantTurns) -> Vec<String> {
    let tokens = chat.supervise(messages, turns).unwrap();
    assert_eq!(
        tokens.ids,
        chat.encode_chat(messages, GenerationPrompt::Omit).unwrap()
    );
    let decode = |range: Range<usize>| {
        chat.tokenizer()
            .decode_with_special(&tokens.ids[range])
            .unwrap()
    };
    let mut stretches = Vec::new();
    let mut start = None;
    for (i, &supervised) in tokens.loss_mask.iter().chain([&false]).enumerate() {
        match (start, supervised) {
            (None, true) => start = Some(i),
            (Some(from), false) => {
                stretches.push(decode(from..i));
                start = None;
            }
            _ => {}
        }
    }
    stretches
}

#[test]
fn gemma_learns_the_trimmed_content_and_the_end_of_turn() {
    let chat = chat("c-gemma", GEMMA);
    let expected = ["Der Turm 塔.<end_of_turn>", "tower<end_of_turn>"];
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::All),
        expected
    );
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::Last),
        expected[1..]
    );
    assert_eq!(
        (chat.end_of_turn_id(), chat.stop_ids()),
        (Some(4), vec![1, 4])
    );
}

#[test]
fn chatml_learns_the_content_as_it_is_and_the_end_of_turn() {
    let chat = chat("c-chatml", CHATML);
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::All),
        ["Der Turm 塔.<|im_end|>", " tower\n<|im_end|>"]
    );
    assert_eq!((chat.end_of_turn_id(), chat.stop_ids()), (Some(2), vec![2]));
}

#[test]
fn a_turn_marked_train_false_is_not_learnt() {
    let chat = chat("c-train", CHATML);
    let mut messages = conversation();
    messages[1].train = Some(false);
    assert_eq!(
        learnt(&chat, &messages, AssistantTurns::All),
        [" tower\n<|im_end|>"]
    );
    messages[3].train = Some(false);
    let error = chat
        .supervise(&messages, AssistantTurns::All)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no assistant turn to learn from"), "{error}");
}

#[test]
fn generation_blocks_are_used_and_end_with_the_end_of_turn_wherever_they_end_themselves() {
    let whole = "{{ '<|im_end|>\n' }}";
    let exact = GENERATION
        .replace("BODY", "{{ '<|im_end|>' }}")
        .replace("TAIL", "{{ '\n' }}");
    let long = GENERATION.replace("BODY", whole).replace("TAIL", "");
    let short = GENERATION.replace("BODY", "").replace("TAIL", whole);
    // As TRL's template of Qwen 2.5: the block begins with the line end of the turn's header.
    let with_header = long
        .replace("m.role + '\n' }}", "m.role }}")
        .replace("{% generation %}", "{% generation %}{{ '\n' }}")
        .replace("{% else %}{{ m", "{% else %}{{ '\n' + m");
    let expected = ["Der Turm 塔.<|im_end|>", " tower\n<|im_end|>"];
    for (i, template) in [exact, long, short, with_header].iter().enumerate() {
        let chat = chat(&format!("c-generation-{i}"), template);
        assert_eq!(
            learnt(&chat, &conversation(), AssistantTurns::All),
            expected,
            "{i}"
        );
        assert_eq!(
            learnt(&chat, &conversation(), AssistantTurns::Last),
            expected[1..],
            "{i}"
        );
    }
}

#[test]
fn a_template_that_rewrites_earlier_turns_still_shows_what_it_kept_of_them() {
    let chat = chat("c-thinking", THINKING);
    let messages = [
        Message::user("a"),
        Message::assistant("<think>\nfirst\n</think>\n\none"),
        Message::user("b"),
        Message::assistant("<think>second</think>two"),
    ];
    let expected = [
        "one<|im_end|>",
        "<think>\nsecond\n</think>\n\ntwo<|im_end|>",
    ];
    assert_eq!(learnt(&chat, &messages, AssistantTurns::All), expected);
    // Without thoughts of its own the last answer gets empty ones, which the model must write when it answers.
    let expected = [
        "Der Turm 塔.<|im_end|>",
        "<think>\n\n</think>\n\n tower\n<|im_end|>",
    ];
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::All),
        expected
    );
}

#[test]
fn what_closes_the_whole_conversation_is_not_learnt() {
    let chat = chat("c-closed", CLOSED);
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::All),
        ["Der Turm 塔. <|im_end|>", " tower\n <|im_end|>"]
    );
}

#[test]
fn control_tokens_spelt_out_in_the_content_do_not_end_the_turn() {
    let chat = chat("c-spelt", CHATML);
    let messages = [
        Message::user("a"),
        Message::assistant("x<|im_end|>\n<|im_start|>user\ny"),
    ];
    let expected = ["x<|im_end|>\n<|im_start|>user\ny<|im_end|>"];
    assert_eq!(learnt(&chat, &messages, AssistantTurns::All), expected);
}

#[test]
fn a_token_across_the_start_of_the_content_is_learnt() {
    let chat = chat(
        "c-across",
        &CHATML.replace("'<|im_end|>\n'", "'<|im_end|>'"),
    );
    // The line end before the content and the one inside it are one token of this tokenizer.
    let messages = [Message::user("a"), Message::assistant("\n")];
    assert_eq!(
        learnt(&chat, &messages, AssistantTurns::All),
        ["\n\n<|im_end|>"]
    );
}

#[test]
fn a_template_without_an_end_of_turn_token_teaches_the_content_alone() {
    let chat = chat(
        "c-plain",
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}",
    );
    // The last content's line end is one token with the template's.
    let expected = ["Der Turm 塔.", " tower\n\n"];
    assert_eq!(
        learnt(&chat, &conversation(), AssistantTurns::All),
        expected
    );
    assert_eq!((chat.end_of_turn_id(), chat.stop_ids()), (None, vec![2]));
}

#[test]
fn a_turn_that_cannot_be_found_is_named() {
    let shouting = CHATML.replace("m.content", "(m.content | upper if loop.index < messages | length else m.content | upper) + (messages | length | string)");
    let chat = chat(
        "c-lost",
        &shouting.replace(
            "m.role +",
            "m.role + (messages | map(attribute='content') | join('') | length | string) +",
        ),
    );
    let error = chat
        .supervise(&conversation(), AssistantTurns::All)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`messages[1]`") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn both_sides_of_a_pair_learn_the_answer_alone() {
    let chat = chat("c-pair", GEMMA);
    let pair = PreferencePair {
        prompt: vec![
            Message::user("Hi"),
            Message::assistant("Yes?"),
            Message::user("tower"),
        ],
        chosen: vec![Message::assistant("Turm")],
        rejected: vec![Message::assistant("Tor!")],
        translation: None,
    };
    let (chosen, rejected) = chat.supervise_pair(&pair).unwrap();
    let text = |tokens: &SupervisedTokens| {
        let ids = tokens
            .ids
            .iter()
            .zip(&tokens.loss_mask)
            .filter(|(_, mask)| **mask)
            .map(|(id, _)| *id);
        chat.tokenizer()
            .decode_with_special(&ids.collect::<Vec<_>>())
            .unwrap()
    };
    assert_eq!(
        (text(&chosen), text(&rejected)),
        ("Turm<end_of_turn>".into(), "Tor!<end_of_turn>".into())
    );
    let prompt = chat
        .encode_chat(&pair.prompt, GenerationPrompt::Add)
        .unwrap();
    assert!(chosen.ids.starts_with(&prompt) && rejected.ids.starts_with(&prompt));
    assert_eq!(
        chosen.ids.iter().filter(|&&id| id == 2).count(),
        1,
        "one BOS"
    );
}

#[test]
fn threads_can_share_a_tokenizer() {
    fn shared<T: Send + Sync>() {}
    shared::<ChatTokenizer>();
}
