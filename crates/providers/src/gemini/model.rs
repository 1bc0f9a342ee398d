//! What is told from a model's name.

/// In what a model differs from its elders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// Gemini 3 and later: thinking has levels instead of a budget in tokens, tool calls have to come back sealed, and
    /// tools may answer with images.
    pub(super) third: bool,
    /// A Pro model: it cannot stop thinking, and its lowest level is `low`.
    pub(super) pro: bool,
}

/// Tells a model's traits by the first number in its name: `gemini-2.5-flash` is of the second generation,
/// `gemini-3-pro-preview` of the third. A name without one, such as `gemini-flash-latest`, means the newest.
pub(super) fn traits(model: &str) -> Traits {
    let name = model.rsplit('/').next().unwrap_or(model);
    let number = name.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    let major: Option<u32> = number.and_then(|digits| digits.parse().ok());
    Traits {
        third: major.is_none_or(|major| major >= 3),
        pro: name.split(['-', '.']).any(|word| word == "pro"),
    }
}

/// A model as bodies name it, `models/gemini-2.5-flash`.
pub(super) fn path(model: &str) -> String {
    if model.contains('/') { model.to_owned() } else { format!("models/{model}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_by_the_first_number() {
        for (name, third, pro) in [
            ("gemini-2.5-flash", false, false),
            ("gemini-2.5-pro", false, true),
            ("models/gemini-2.0-flash-001", false, false),
            ("publishers/google/models/gemini-3-pro-preview", true, true),
            ("google.gemini-3.1-flash-lite", true, false),
            ("gemini-flash-latest", true, false),
            ("gemini-robotics-er-1.5-preview", false, false),
            ("endpoints/1234567890123456789", true, false),
            ("", true, false),
        ] {
            assert_eq!(traits(name), Traits { third, pro }, "{name}");
        }
    }

    #[test]
    fn bodies_name_models_by_path() {
        assert_eq!(path("gemini-2.5-flash"), "models/gemini-2.5-flash");
        assert_eq!(path("tunedModels/mine"), "tunedModels/mine");
    }
}
