use super::*;
use crate::record::{PromptRecord, Record};
use crate::test_model::TestModel;
use crate::tokenizer::{DocumentStart, Tokenizer};

fn render(source: &str, messages: &[Message]) -> Result<String, DataError> {
    ChatTemplate::new(source, &SpecialTokens::default())?.render(messages, GenerationPrompt::Omit)
}

/// Renders an expression; each expected value below was printed by Jinja2 3.1.6 under transformers 5.23.0.
fn eval(source: &str) -> String {
    let mut message = Message::user("  Straße\u{1f} \n");
    message.extra.insert(
        "data".into(),
        json!({"b": [1, 2.5, null, true], "a": "<é\"\n>"}),
    );
    render(source, &[message]).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn blocks_and_a_trailing_newline_are_trimmed_as_hugging_face_does() {
    let source =
        "  {% for m in messages %}\n  {{ m.content }}\r\n  {% endfor %}\n{# note #}\nend\n\n";
    assert_eq!(
        render(source, &[Message::user("a"), Message::user("b")]).unwrap(),
        "  a\n  b\nend\n"
    );
}

#[test]
fn values_print_as_python_prints_them() {
    assert_eq!(
        eval("{{ true }} {{ none }} {{ 1.0 }} {{ missing }}|"),
        "True None 1.0 |"
    );
    assert_eq!(
        eval("{{ messages[0].data }}"),
        "{'b': [1, 2.5, None, True], 'a': '<é\"\\n>'}"
    );
    assert_eq!(
        eval("{{ [\"it's\", 'a'] }}{{ 1e16 }} {{ 0.00001 }}"),
        "[\"it's\", 'a']1e+16 1e-05"
    );
}

#[test]
fn tojson_is_json_dumps_without_html_escapes() {
    assert_eq!(
        eval("{{ messages[0].data | tojson }}"),
        r#"{"b": [1, 2.5, null, true], "a": "<é\"\n>"}"#
    );
    let indented =
        "{\n  \"b\": [\n    1,\n    2.5,\n    null,\n    true\n  ],\n  \"a\": \"<é\\\"\\n>\"\n}";
    assert_eq!(eval("{{ messages[0].data | tojson(indent=2) }}"), indented);
    assert_eq!(
        eval("{{ {'é': [], 'a': {}} | tojson(ensure_ascii=true, sort_keys=true) }}"),
        r#"{"a": {}, "\u00e9": []}"#
    );
    assert_eq!(
        eval("{{ {'a': [1, 2]} | tojson(separators=(',', ':')) }}"),
        r#"{"a":[1,2]}"#
    );
}

#[test]
fn string_methods_work_as_in_python() {
    assert_eq!(eval("[{{ messages[0].content.strip() }}]"), "[Straße]");
    assert_eq!(eval("[{{ messages[0].content | trim }}]"), "[Straße]");
    assert_eq!(
        eval("{{ 'xxaxbx'.lstrip('x') }} {{ 'xxaxbx'.rstrip('xb') }} {{ '\n a'.lstrip('\n') }}"),
        "axbx xxa  a"
    );
    assert_eq!(
        eval("{{ 'a</think>b</think>c'.split('</think>')[-1] }} {{ ' a  b '.split() }}"),
        "c ['a', 'b']"
    );
    assert_eq!(
        eval("{{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }}"),
        "['a', 'b,c'] ['a,b', 'c']"
    );
    assert_eq!(
        eval("{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }}"),
        "True True"
    );
    assert_eq!(
        eval("{{ 'ßab'.find('a') }} {{ ''.isdigit() }} {{ 'aXbX'.replace('X', '-', 1) }}"),
        "1 False a-bX"
    );
    assert_eq!(
        eval("{{ 'abc'.removeprefix('a').removesuffix('c') }} {{ 'a=b=c'.partition('=') }}"),
        "b ('a', '=', 'b=c')"
    );
    assert_eq!(
        eval("{{ 'hELLO wORLD'.title() }} {{ 'hELLO'.capitalize() }}"),
        "Hello World Hello"
    );
}

#[test]
fn dictionaries_lists_slices_and_namespaces_work_as_in_jinja2() {
    assert_eq!(
        eval("{% for k, v in messages[0].data.items() %}{{ k }}={{ v is string }};{% endfor %}"),
        "b=False;a=True;"
    );
    assert_eq!(
        eval("{{ messages[0].data.get('x', 3) }}{{ messages[0].get('role') }}"),
        "3user"
    );
    assert_eq!(
        eval("{{ [1, 2, 3][::-1] }} {{ 'abc'[::-1] }} {{ [1, 2, 3][1:] + [4] }}"),
        "[3, 2, 1] cba [2, 3, 4]"
    );
    let namespace = "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}\
                     {% if i > 4 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}";
    assert_eq!(eval(namespace), "8");
    assert_eq!(
        eval("{{ 'ab' is sequence }} {{ none is iterable }} {{ messages[0].data is mapping }}"),
        "True False True"
    );
    assert_eq!(
        eval(
            "{{ messages | map(attribute='role') | join(',') }} {{ messages[0].nothing is defined }}"
        ),
        "user False"
    );
    assert_eq!(
        eval("{{ tools is none }} {{ documents is none }} {{ bos_token is defined }}"),
        "True True False"
    );
}

/// Cases that `tests/golden/chat.py` wrote with transformers, four families.
#[test]
fn text_and_ids_equal_those_of_transformers() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/chat");
    let mut num_cases = 0;
    for family in ["gemma2", "gemma3", "qwen2_5", "qwen3"] {
        let dir = golden.join(family);
        let tokenizer = Tokenizer::from_dir(&dir, DocumentStart::Text).unwrap();
        let cases = std::fs::read_to_string(dir.join("cases.json")).unwrap();
        let cases: Vec<Map<String, serde_json::Value>> = serde_json::from_str(&cases).unwrap();
        for case in cases {
            check_golden(family, &dir, &tokenizer, &case);
            num_cases += 1;
        }
    }
    assert!(num_cases > 300, "{num_cases} cases");
}

fn check_golden(
    family: &str,
    dir: &Path,
    tokenizer: &Tokenizer,
    case: &Map<String, serde_json::Value>,
) {
    let mut template = ChatTemplate::from_dir(dir).unwrap();
    for name in ["enable_thinking", "tools"] {
        if let Some(value) = case.get(name) {
            template = template.with_variable(name, value);
        }
    }
    let prompt = match &case["add_generation_prompt"] {
        serde_json::Value::Bool(true) => GenerationPrompt::Add,
        _ => GenerationPrompt::Omit,
    };
    let messages = case["messages"].as_array().unwrap();
    let rendered = if messages
        .iter()
        .all(|message| message["content"].is_string())
    {
        match PromptRecord::from_json(json!({ "messages": messages })) {
            Ok(PromptRecord::Messages(messages)) => template.render(&messages, prompt),
            other => panic!("{family}: {other:?}"),
        }
    } else {
        let dicts = messages.iter().map(Value::from_serialize).collect();
        template.render_dicts(dicts, prompt, generation::Marks::Off)
    };
    let name = format!("{family}: {} ({prompt:?})", case["name"]);
    match (rendered, case.get("error")) {
        (Ok(text), None) => {
            assert_eq!(text, case["text"].as_str().unwrap(), "{name}");
            assert_eq!(
                json!(tokenizer.encode(&text).unwrap()),
                case["ids"],
                "{name}"
            );
        }
        (Err(error), Some(expected)) => {
            assert!(
                error.to_string().contains(expected.as_str().unwrap()),
                "{name}: {error}"
            );
        }
        (rendered, expected) => panic!("{name}: {rendered:?}, expected error {expected:?}"),
    }
}

#[test]
fn a_template_that_raises_speaks_for_itself() {
    let source = "{% for m in messages %}\n{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% endfor %}";
    let error = render(source, &[Message::system("Be kind.")])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "chat template: System role not supported (line 2 of the template)\nhint:"
        ),
        "{error}"
    );
    let error = render("{{ messages[0].nothing.further }}", &[Message::user("a")])
        .unwrap_err()
        .to_string();
    assert!(error.contains("undefined"), "{error}");
    assert!(
        render("{% for %}", &[])
            .unwrap_err()
            .to_string()
            .contains("does not parse")
    );
}

#[test]
fn strftime_now_is_the_time_of_loading_or_the_one_set() {
    let year: i32 = eval("{{ strftime_now('%Y') }}").parse().unwrap();
    assert!((2024..2200).contains(&year));
    let source = "{{ strftime_now('%d %b %Y, %A, %j') }}";
    let template = ChatTemplate::new(source, &SpecialTokens::default()).unwrap();
    let text = template
        .with_now(1_722_000_000)
        .render(&[], GenerationPrompt::Omit)
        .unwrap();
    // 13:20 in UTC; a zone may be a day ahead or behind at most.
    let days = [
        "25 Jul 2024, Thursday, 207",
        "26 Jul 2024, Friday, 208",
        "27 Jul 2024, Saturday, 209",
    ];
    assert!(days.contains(&text.as_str()), "{text}");
    let error = render("{{ strftime_now('%Q') }}", &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("%Q"), "{error}");
}

#[test]
fn the_template_file_comes_before_the_configuration_and_default_before_other_names() {
    let config = |template: serde_json::Value| json!({"eos_token": "<eos>", "bos_token": "<bos>", "chat_template": template});
    let text = |model: &TestModel| {
        ChatTemplate::from_dir(model.path())
            .unwrap()
            .render(&[], GenerationPrompt::Omit)
            .unwrap()
    };
    let tokens = ["<bos>", "<eos>"];
    let file = TestModel::new(
        "template-file",
        &tokens,
        config(json!("config")),
        Some("file {{ bos_token }}"),
    );
    assert_eq!(text(&file), "file <bos>");
    assert_eq!(
        text(&TestModel::new(
            "template-config",
            &tokens,
            config(json!("config {{ eos_token }}")),
            None
        )),
        "config <eos>"
    );
    let named = json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default"}]);
    assert_eq!(
        text(&TestModel::new(
            "template-named",
            &tokens,
            config(named),
            None
        )),
        "default"
    );
    let none = TestModel::new(
        "template-none",
        &tokens,
        json!({"eos_token": "<eos>"}),
        None,
    );
    let error = ChatTemplate::from_dir(none.path()).unwrap_err().to_string();
    assert!(error.contains("there is no chat template"), "{error}");
}
