//! What Converse leaves to the models: how they think, and where their own settings go.
//!
//! Sources: the pages on each vendor's models in the Bedrock user guide, "Extended thinking" and "Adaptive thinking"
//! for Claude, "Extended thinking in Amazon Nova 2".

/// How the models of one vendor take what Converse has no field for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) thinking: Thinking,
    /// Path of `top_k` in the model's own fields; empty: it has none.
    pub(super) top_k: &'static [&'static str],
    /// Thoughts come back only with their seal.
    pub(super) seals_thoughts: bool,
    /// Tools that Anthropic defines go into the model's own fields, and it tells which stop sequence came up.
    pub(super) speaks_anthropic: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It cannot be told.
    None,
    /// `thinking.budget_tokens`.
    Budget,
    /// `thinking.type: adaptive` and Converse's own `outputConfig.effort`.
    Adaptive,
    /// `reasoningConfig.maxReasoningEffort`.
    MaxEffort,
    /// A word at this path of the model's own fields.
    Effort(&'static [&'static str]),
}

const PLAIN: Family =
    Family { thinking: Thinking::None, top_k: &["top_k"], seals_thoughts: false, speaks_anthropic: false };

const ADAPTIVE: Family =
    Family { thinking: Thinking::Adaptive, seals_thoughts: true, speaks_anthropic: true, ..PLAIN };

const BUDGET: Family = Family { thinking: Thinking::Budget, ..ADAPTIVE };

const NOVA: Family = Family { thinking: Thinking::MaxEffort, top_k: &["inferenceConfig", "topK"], ..PLAIN };

const OPENAI: Family = Family { thinking: Thinking::Effort(&["reasoning", "effort"]), top_k: &[], ..PLAIN };

/// Beginnings of model ids; the first that fits is taken. Claude's generations up to 4.5 think by budget, those after
/// refuse budgets.
const FAMILIES: &[(&str, Family)] = &[
    ("amazon.nova-2", NOVA),
    ("amazon.nova", Family { thinking: Thinking::None, ..NOVA }),
    ("anthropic.claude-3-7", BUDGET),
    ("anthropic.claude-3", Family { thinking: Thinking::None, ..BUDGET }),
    ("anthropic.claude-haiku-4-5", BUDGET),
    ("anthropic.claude-instant", Family { thinking: Thinking::None, ..BUDGET }),
    ("anthropic.claude-opus-4-1", BUDGET),
    ("anthropic.claude-opus-4-20", BUDGET),
    ("anthropic.claude-opus-4-5", BUDGET),
    ("anthropic.claude-sonnet-4-20", BUDGET),
    ("anthropic.claude-sonnet-4-5", BUDGET),
    ("anthropic.claude-v2", Family { thinking: Thinking::None, ..BUDGET }),
    ("anthropic.", ADAPTIVE),
    ("cohere.", Family { top_k: &["k"], ..PLAIN }),
    ("openai.gpt-oss", Family { thinking: Thinking::Effort(&["reasoning_effort"]), ..OPENAI }),
    ("openai.", OPENAI),
];

impl Family {
    /// The family of the first name that one is known for.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().find_map(|name| entry(name, FAMILIES)).unwrap_or(PLAIN)
    }
}

/// The entry whose beginning a model id has, in any of the forms that ids come in: plain, behind a region
/// (`us.amazon.nova-…`), at the end of an ARN.
pub(super) fn entry<T: Copy>(id: &str, entries: &[(&str, T)]) -> Option<T> {
    let forms = id.split('/').flat_map(|part| [Some(part), part.split_once('.').map(|(_, rest)| rest)]);
    forms.flatten().find_map(|form| {
        entries.iter().find(|(beginning, _)| form.starts_with(beginning)).map(|(_, entry)| *entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_every_form_of_an_id() {
        for (id, expected) in [
            ("anthropic.claude-opus-4-7", ADAPTIVE),
            ("us.anthropic.claude-opus-4-6-v1", ADAPTIVE),
            ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", BUDGET),
            ("anthropic.claude-sonnet-4-20250514-v1:0", BUDGET),
            ("apac.anthropic.claude-3-7-sonnet-20250219-v1:0", BUDGET),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-2-lite-v1:0", NOVA),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-7",
                ADAPTIVE,
            ),
            ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6", PLAIN),
            ("deepseek.v3.2", PLAIN),
        ] {
            assert_eq!(Family::of([id]), expected, "{id}");
        }
        assert_eq!(Family::of(["a1b2c3", "eu.amazon.nova-2-lite-v1:0"]), NOVA);
        assert_eq!(Family::of(["anthropic.claude-3-haiku-20240307-v1:0"]).thinking, Thinking::None);
    }
}
