//! Turns taken apart, for formats that have one field for each kind of part.

use domain::ApiError;
use serde_json::{Value, json};

use crate::chat::{Dialect, Part, PartKind, Role, Source, Target};
use crate::draft::{Draft, unsupported};

/// What a turn says.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Text, images and what is the format's own, in order.
    pub(crate) content: Vec<Piece>,
    /// Thoughts of the model.
    pub(crate) thoughts: Vec<String>,
    /// Calls of tools.
    pub(crate) calls: Vec<Call>,
    /// Results of tools.
    pub(crate) results: Vec<ToolResult>,
}

/// A piece of a turn's content.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(String),
    Image { source: Source, detail: Option<String>, path: String },
    Document { text: String, title: Option<String> },
    Native(Value),
}

/// A call of a tool.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON text; never empty.
    pub(crate) arguments: String,
    pub(crate) path: String,
}

/// What a tool answered.
#[derive(Debug)]
pub(crate) struct ToolResult {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) content: Vec<Piece>,
}

/// Takes turns apart for one format.
pub(crate) struct TakeApart<'a> {
    pub(crate) draft: &'a mut Draft,
    pub(crate) target: &'a Target<'a>,
    /// Whose native parts are kept.
    pub(crate) dialect: Option<Dialect>,
}

impl TakeApart<'_> {
    /// The turn that these parts make; `path` is the turn's, as in `messages[2]`.
    ///
    /// Errors: parts that none of these formats takes (files that are no text, sound, video). What only adds to a part
    /// (seals, cache marks, citations) is reported as left out.
    pub(crate) fn turn(&mut self, role: Role, parts: Vec<Part>, path: &str) -> Result<Turn, ApiError> {
        let mut turn = Turn::default();
        for (j, part) in parts.into_iter().enumerate() {
            let path = format!("{path}.content[{j}]");
            self.draft.lose_cache(part.cache.as_ref(), &path);
            match part.kind {
                kind if !belongs(role, &kind) => self.draft.lose(path),
                PartKind::Thinking { text, signature } => {
                    self.draft.lose_if(signature.is_some(), &format!("{path}.signature"));
                    turn.thoughts.push(text);
                }
                PartKind::RedactedThinking { data: _ } => self.draft.lose(path),
                PartKind::ToolCall { id, name, arguments, signature } => {
                    self.draft.lose_if(signature.is_some(), &format!("{path}.signature"));
                    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
                    turn.calls.push(Call { id, name, arguments, path });
                }
                PartKind::ToolResult { id, name, parts, is_error } => {
                    self.draft.lose_if(is_error, &format!("{path}.is_error"));
                    let content = self.result(parts, &path)?;
                    turn.results.push(ToolResult { id, name, content });
                }
                kind => turn.content.extend(self.piece(kind, path)?),
            }
        }
        Ok(turn)
    }

    fn result(&mut self, parts: Vec<Part>, path: &str) -> Result<Vec<Piece>, ApiError> {
        let mut content = Vec::with_capacity(parts.len());
        for (k, part) in parts.into_iter().enumerate() {
            let path = format!("{path}.content[{k}]");
            self.draft.lose_cache(part.cache.as_ref(), &path);
            content.extend(self.piece(part.kind, path)?);
        }
        Ok(content)
    }

    fn piece(&mut self, kind: PartKind, path: String) -> Result<Option<Piece>, ApiError> {
        Ok(match kind {
            PartKind::Text { text, citations } => {
                self.draft.lose_if(!citations.is_empty(), &format!("{path}.citations"));
                Some(Piece::Text(text))
            }
            PartKind::Refusal(text) => Some(Piece::Text(text)),
            PartKind::Image { source, detail } => Some(Piece::Image { source, detail, path }),
            PartKind::Document { source: Source::Text(text), name } => {
                Some(Piece::Document { text, title: name })
            }
            PartKind::Document { source: _, name: _ } => {
                return Err(unsupported(self.target, &path, "files but plain text", "send its text"));
            }
            PartKind::Audio { source: _ } => {
                return Err(unsupported(self.target, &path, "sound", "send a transcript"));
            }
            PartKind::Video { source: _ } => {
                return Err(unsupported(self.target, &path, "video", "send images of it"));
            }
            PartKind::Native { dialect, value } if Some(dialect) == self.dialect => {
                Some(Piece::Native(value))
            }
            PartKind::Native { .. }
            | PartKind::Thinking { .. }
            | PartKind::RedactedThinking { .. }
            | PartKind::ToolCall { .. }
            | PartKind::ToolResult { .. } => {
                self.draft.lose(path);
                None
            }
        })
    }
}

/// Whether turns of that role have such parts; [`Role`] says so, and what does not keep to it is left out.
fn belongs(role: Role, kind: &PartKind) -> bool {
    match kind {
        PartKind::ToolResult { .. } => role == Role::Tool,
        PartKind::Thinking { .. } | PartKind::RedactedThinking { .. } | PartKind::ToolCall { .. } => {
            role == Role::Assistant
        }
        _ => role != Role::Tool,
    }
}

impl Call {
    /// The call in OpenAI's shape.
    pub(crate) fn in_openai_shape(self) -> Value {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id, "type": "function", "function": function })
    }
}

/// The text of a document with its title in front.
pub(crate) fn document_text(text: String, title: Option<String>) -> String {
    match title {
        Some(title) => format!("{title}\n\n{text}"),
        None => text,
    }
}

/// Where an image is, as an address. `remote`: the provider fetches images from the web.
pub(crate) fn image_url(
    source: Source,
    path: &str,
    remote: bool,
    target: &Target<'_>,
) -> Result<String, ApiError> {
    let path = format!("{path}.image_url.url");
    match source {
        Source::Base64 { media_type, data } => Ok(format!("data:{media_type};base64,{data}")),
        Source::Url(url) if remote && (url.starts_with("https:") || url.starts_with("http:")) => Ok(url),
        Source::Url(_) | Source::File(_) | Source::Text(_) => {
            let instead = "write it as `data:<media type>;base64,<bytes>`";
            Err(unsupported(target, &path, "images by such a reference", instead))
        }
    }
}
