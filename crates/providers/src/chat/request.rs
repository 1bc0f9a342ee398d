//! What is asked.

use domain::model::ModelInfo;
use serde_json::{Map, Number, Value};

/// The dialects that chats come in or go out in; tells whose value an untranslated one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI chat completions.
    OpenAi,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Bedrock Converse.
    Bedrock,
    /// Cohere v2 chat.
    Cohere,
    /// Ollama chat.
    Ollama,
}

/// A chat request.
///
/// Writers take it apart field by field (`let Request { model, messages, … } = request`), so that the compiler shows
/// what a format has not been taught; what a format cannot say goes into [`Written::dropped`] by OpenAI's name of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model's name at the provider.
    pub model: String,
    /// What was said so far, instructions included, in the order in which it came.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether and what it has to call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// What the answer has to look like.
    pub response_format: Option<ResponseFormat>,
    /// Most tokens of the answer, reasoning included.
    pub max_tokens: Option<u64>,
    /// Sampling temperature, as it was written.
    pub temperature: Option<Number>,
    /// Nucleus sampling.
    pub top_p: Option<Number>,
    /// Sampling from so many tokens.
    pub top_k: Option<u64>,
    /// Penalty of frequent tokens.
    pub frequency_penalty: Option<Number>,
    /// Penalty of tokens that occurred.
    pub presence_penalty: Option<Number>,
    /// For answers that can be repeated.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How many answers.
    pub n: Option<u64>,
    /// Whether probabilities of tokens are wanted.
    pub logprobs: Option<bool>,
    /// Of how many alternatives per token.
    pub top_logprobs: Option<u64>,
    /// Bias by token id.
    pub logit_bias: Option<Map<String, Value>>,
    /// Whether and how much the model thinks first.
    pub reasoning: Option<Reasoning>,
    /// The caller's own user.
    pub user: Option<String>,
    /// What the answer may be made of: `text`, `audio`, `image`. Empty: text.
    pub modalities: Vec<String>,
    /// Voice and format of a spoken answer, in OpenAI's form.
    pub audio: Option<Value>,
    /// The answer is to come in pieces.
    pub stream: bool,
    /// The caller wants token counts at the end of the stream. Formats ask the provider for them in any case.
    pub include_usage: bool,
    /// Fields that the caller's dialect defines and that have no place above, by their own names. A writer takes out
    /// those it can say; what is left is reported as dropped.
    pub own: Map<String, Value>,
    /// Fields that the caller's dialect does not define: meant for the provider, and passed on as they are unless the
    /// writer has written one of that name.
    pub unknown: Map<String, Value>,
    /// What the reader could not keep, by path, as in `messages[2].name`.
    pub dropped: Vec<String>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions under OpenAI's newer name. Formats that know one kind write both as it.
    Developer,
    /// The caller's user.
    User,
    /// The model.
    Assistant,
    /// Tools. All its parts are [`PartKind::ToolResult`], and nobody else has such parts.
    Tool,
}

/// One turn. Readers do not merge turns; writers do where their format wants roles to alternate.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// Name of the participant.
    pub name: Option<String>,
    /// What.
    pub parts: Vec<Part>,
}

/// A part of a turn, of an answer or of a tool's result.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// The prompt up to here is to be kept by the provider's cache.
    pub cache: Option<Cache>,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub enum PartKind {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Where it comes from, in the form of the format it was read from.
        citations: Vec<Value>,
    },
    /// An image.
    Image {
        /// Its bytes or where they are.
        source: Source,
        /// OpenAI's `low`, `high`, `auto`.
        detail: Option<String>,
    },
    /// A file, most often a PDF.
    Document {
        /// Its bytes or where they are.
        source: Source,
        /// File name or title.
        name: Option<String>,
    },
    /// Sound.
    Audio {
        /// Its bytes or where they are.
        source: Source,
    },
    /// Moving pictures.
    Video {
        /// Its bytes or where they are.
        source: Source,
    },
    /// The model would not answer.
    Refusal(String),
    /// What the model thought.
    Thinking {
        /// The text; may be empty where a provider shows none.
        text: String,
        /// The provider's seal; the part has to come back with it.
        signature: Option<String>,
    },
    /// Thoughts that only the provider can read.
    RedactedThinking {
        /// The provider's bytes.
        data: String,
    },
    /// The model calls a tool.
    ToolCall {
        /// Names the call; its result brings it back.
        id: String,
        /// The tool.
        name: String,
        /// JSON text as the model wrote it; may be empty for a tool without arguments.
        arguments: String,
        /// The provider's seal (Gemini's `thoughtSignature`).
        signature: Option<String>,
    },
    /// What a tool answered.
    ToolResult {
        /// The call.
        id: String,
        /// The tool, where the dialect says so. Writers that need it look the call up in earlier turns.
        name: Option<String>,
        /// Text, images, documents.
        parts: Vec<Part>,
        /// The tool failed.
        is_error: bool,
    },
    /// Something that only one dialect has, whole. Writers of that dialect write it as it is, others drop and report it.
    Native {
        /// Whose.
        dialect: Dialect,
        /// The block or item.
        value: Value,
    },
}

/// A mark for a provider's prompt cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// How long it is to be kept, as in `5m` or `1h`.
    pub ttl: Option<String>,
}

/// Where bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Here.
    Base64 {
        /// Media type, as in `image/png`.
        media_type: String,
        /// The bytes in base64. Readers check that it is.
        data: String,
    },
    /// At this address (`https:`, `gs:`, `s3:`).
    Url(String),
    /// In the provider's file store, under this id.
    File(String),
    /// Plain text of a document.
    Text(String),
}

/// Something that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the caller.
    Function(Function),
    /// A tool that one dialect defines (web search, code execution, …), whole.
    Native {
        /// Whose.
        dialect: Dialect,
        /// The tool.
        value: Value,
    },
}

/// A function of the caller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Arguments have to fit the schema exactly.
    pub strict: Option<bool>,
    /// The tools up to here are to be kept by the provider's cache.
    pub cache: Option<Cache>,
}

/// Whether and what the model has to call.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// Nothing.
    None,
    /// Something (`required`, `any`).
    Required,
    /// This function.
    Function(String),
    /// Something that one dialect defines, whole.
    Native {
        /// Whose.
        dialect: Dialect,
        /// The choice.
        value: Value,
    },
}

/// What the answer has to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    /// Text.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that fits a schema.
    JsonSchema {
        /// Name of the schema.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The JSON schema. May hold `$ref`s to its own `$defs`.
        schema: Value,
        /// It has to fit exactly.
        strict: Option<bool>,
    },
}

/// Whether and how much the model thinks first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// By word. [`Effort::None`]: not at all.
    pub effort: Option<Effort>,
    /// By tokens.
    pub budget_tokens: Option<u64>,
    /// What the caller wants to see of it: `auto`, `concise`, `detailed`.
    pub summary: Option<String>,
}

/// How hard the model thinks, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// As usual.
    Medium,
    /// Hard.
    High,
    /// As hard as it can.
    XHigh,
}

impl Effort {
    /// Every value, in order.
    pub const ALL: [Self; 6] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh];

    /// OpenAI's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
        }
    }

    /// The effort of that word; Anthropic's `max` is `xhigh`.
    pub fn parse(word: &str) -> Option<Self> {
        if word == "max" {
            return Some(Self::XHigh);
        }
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }

    /// Hundredths of the answer's limit that this effort may think for.
    ///
    /// Source: OpenRouter's documentation of reasoning tokens, which gives 95, 80, 50, 20 and 10 per cent.
    fn percent(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal => 10,
            Self::Low => 20,
            Self::Medium => 50,
            Self::High => 80,
            Self::XHigh => 95,
        }
    }
}

impl Reasoning {
    /// Fewest tokens that providers take as a budget (Anthropic's minimum).
    pub const LEAST_BUDGET: u64 = 1024;

    /// Whether the model is not to think.
    pub fn is_off(&self) -> bool {
        self.effort == Some(Effort::None) || (self.effort.is_none() && self.budget_tokens == Some(0))
    }

    /// What formats that say how hard by a word leave unsaid, by its name: a budget beside an effort.
    pub fn lost_beside_effort(&self) -> Option<&'static str> {
        (self.effort.is_some() && self.budget_tokens.is_some()).then_some("thinking.budget_tokens")
    }

    /// The same for formats that say it by a number: an effort beside a budget.
    pub fn lost_beside_budget(&self) -> Option<&'static str> {
        (self.effort.is_some() && self.budget_tokens.is_some()).then_some("reasoning_effort")
    }

    /// The budget in tokens, for formats that want one: as it was given, else by the effort's share of `max_tokens`,
    /// at least [`Self::LEAST_BUDGET`]. None: no thinking, or neither is given.
    pub fn budget(&self, max_tokens: u64) -> Option<u64> {
        if self.is_off() {
            return None;
        }
        let by_effort =
            |effort: Effort| (max_tokens.saturating_mul(effort.percent()) / 100).max(Self::LEAST_BUDGET);
        self.budget_tokens.or_else(|| self.effort.map(by_effort))
    }

    /// The effort, for formats that want a word: as it was given, else the least whose share of `max_tokens` covers
    /// the budget.
    pub fn effort(&self, max_tokens: u64) -> Option<Effort> {
        if self.is_off() {
            return Some(Effort::None);
        }
        self.effort.or_else(|| {
            let budget = self.budget_tokens?;
            let covers = |effort: &Effort| max_tokens.saturating_mul(effort.percent()) / 100 >= budget;
            Some(Effort::ALL.into_iter().skip(1).find(covers).unwrap_or(Effort::XHigh))
        })
    }
}

/// Whom a request is written for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The provider's slug, for error texts.
    pub provider: &'a str,
    /// What is known of the model.
    pub model: Option<&'a ModelInfo>,
    /// The provider's options (`azure_…`, `vertex_…`), none of them secret.
    pub options: &'a Map<String, Value>,
}

/// A request in a provider's format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The body.
    pub body: Vec<u8>,
    /// What the format cannot say, by OpenAI's name or path of it, in order and each once.
    pub dropped: Vec<String>,
}

impl Part {
    /// A part without a cache mark.
    pub fn new(kind: PartKind) -> Self {
        Self { kind, cache: None }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(PartKind::Text { text: text.into(), citations: Vec::new() })
    }
}

impl Message {
    /// A turn of plain text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, name: None, parts: vec![Part::text(text)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasoning(effort: Option<Effort>, budget_tokens: Option<u64>) -> Reasoning {
        Reasoning { effort, budget_tokens, summary: None }
    }

    #[test]
    fn budgets_and_efforts_stand_for_each_other() {
        assert_eq!(reasoning(Some(Effort::Medium), None).budget(10_000), Some(5_000));
        assert_eq!(reasoning(Some(Effort::Low), None).budget(1_000), Some(1_024));
        assert_eq!(reasoning(Some(Effort::None), Some(9)).budget(10_000), None);
        assert_eq!(reasoning(Some(Effort::Low), Some(4_000)).budget(10_000), Some(4_000));
        assert_eq!(reasoning(None, None).budget(10_000), None);
        assert_eq!(reasoning(None, Some(5_000)).effort(10_000), Some(Effort::Medium));
        assert_eq!(reasoning(None, Some(5_001)).effort(10_000), Some(Effort::High));
        assert_eq!(reasoning(None, Some(99_999)).effort(10_000), Some(Effort::XHigh));
        assert_eq!(reasoning(None, Some(0)).effort(10_000), Some(Effort::None));
        for effort in Effort::ALL {
            assert_eq!(Effort::parse(effort.as_str()), Some(effort));
        }
        assert_eq!(Effort::parse("max"), Some(Effort::XHigh));
        assert_eq!(Effort::parse("hard"), None);
    }
}
