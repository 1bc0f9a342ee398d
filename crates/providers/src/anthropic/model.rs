//! What a Claude model takes, known by the generation in its name.

use domain::model::ModelInfo;

/// Major and minor number in a model's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Generation(u64, u64);

/// What a model takes. Names without a generation (a deployment's own name, another maker's model) are taken to be as
/// able as the caller thinks: nothing is held back from them.
///
/// Sources: "Adaptive thinking", "Extended thinking", "Effort" and the "What's new" pages of Opus 4.7, Opus 5 and
/// Opus 5.5 on platform.claude.com.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model(Option<Generation>);

impl Model {
    /// By the name that is asked for, else by the one that it is known under.
    pub(super) fn of(name: &str, info: Option<&ModelInfo>) -> Self {
        Self(generation(name).or_else(|| info.and_then(|info| generation(&info.name))))
    }

    /// Whether thinking is asked for by a budget in tokens, given how the caller asked. 4.6 takes both ways, those
    /// before it only budgets, those after it none.
    pub(super) fn thinks_by_budget(self, caller_gives_budget: bool) -> bool {
        match self.0 {
            Some(generation) if generation < Generation(4, 6) => true,
            Some(generation) if generation > Generation(4, 6) => false,
            _ => caller_gives_budget,
        }
    }

    /// Whether thinking cannot be turned off, and tools cannot be forced.
    pub(super) fn always_thinks(self) -> bool {
        self.0.is_some_and(|generation| generation > Generation(5, 0))
    }

    /// Whether it takes an effort beside a budget.
    pub(super) fn takes_effort(self) -> bool {
        self.0.is_none_or(|generation| generation >= Generation(4, 5))
    }

    /// Its word for the greatest effort: `max` came with 4.6, `xhigh` with 4.7.
    pub(super) fn greatest_effort(self) -> &'static str {
        match self.0 {
            Some(generation) if generation < Generation(4, 6) => "high",
            Some(Generation(4, 6)) => "max",
            _ => "xhigh",
        }
    }

    /// Whether temperature, `top_p` and `top_k` can be set at all.
    pub(super) fn can_be_sampled(self) -> bool {
        self.0.is_none_or(|generation| generation < Generation(4, 7))
    }

    /// Whether temperature and `top_p` exclude each other.
    pub(super) fn takes_one_of_temperature_and_top_p(self) -> bool {
        self.0.is_some_and(|generation| (Generation(4, 1)..=Generation(4, 6)).contains(&generation))
    }
}

/// The generation in names such as `claude-opus-4-7-20260416`, `claude-3-7-sonnet-20250219`,
/// `us.anthropic.claude-sonnet-4-20250514-v1:0`, `claude-opus-4-6@20260205`. Larger numbers are dates.
fn generation(name: &str) -> Option<Generation> {
    let name = name.to_ascii_lowercase();
    let (_, tail) = name.rsplit_once("claude")?;
    let number = |word: &str| word.parse::<u64>().ok().filter(|number| *number < 100);
    let mut words = tail.split(['-', '.', '@', ':', '/', '_']);
    let major = words.find_map(number)?;
    let minor = words.next().and_then(number).unwrap_or(0);
    Some(Generation(major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_read_from_names() {
        for (name, expected) in [
            ("claude-opus-4-7-20260416", Some((4, 7))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", Some((4, 0))),
            ("anthropic.claude-opus-4-6-v1", Some((4, 6))),
            ("anthropic/claude-opus-4.6", Some((4, 6))),
            ("claude-opus-4-6@20260205", Some((4, 6))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-opus-latest", None),
            ("my-deployment-4", None),
            ("", None),
        ] {
            assert_eq!(generation(name), expected.map(|(major, minor)| Generation(major, minor)), "{name}");
        }
    }

    #[test]
    fn a_deployment_is_known_by_its_model() {
        let info = ModelInfo { name: "claude-opus-4-1".to_owned(), ..ModelInfo::default() };
        assert!(Model::of("production", Some(&info)).thinks_by_budget(false));
        assert!(!Model::of("production", None).thinks_by_budget(false));
        assert!(Model::of("production", None).thinks_by_budget(true));
        assert!(!Model::of("claude-opus-4-7", None).thinks_by_budget(true));
    }
}
