//! Images: generations, edits and variations. Every image is one pixel; what was heard stands beside it.
//! Source: platform.openai.com/docs/api-reference/images.

use domain::ApiError;
use serde_json::{Value, json};

use super::{OpenAi, by_kind, fingerprint, invalid, missing, named};
use crate::chat::Setting;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::multipart::Form;
use crate::player::Content;
use crate::shape::{Kind, may, must};
use crate::stream::{Made, Piece};
use crate::text::{self, CREATED, Limits, Text, count_words};
use crate::wire::{Event, Framing};

/// `POST /v1/images/generations`.
pub(crate) struct Generations;

/// `POST /v1/images/edits`, or `…/variations`, which have no prompt.
pub(crate) struct Edits {
    pub(crate) varies: bool,
}

/// A PNG of one pixel, in base64.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

static GENERATION: Kind = Kind::Object(&[
    must("prompt", &Kind::Filled),
    may("model", &Kind::Filled),
    may("n", &Kind::Whole(1)),
    may("size", &Kind::Filled),
    may("quality", &Kind::Word(&["auto", "low", "medium", "high", "standard", "hd"])),
    may("response_format", &Kind::Word(&["url", "b64_json"])),
    may("output_format", &Kind::Word(&["png", "jpeg", "webp"])),
    may("output_compression", &Kind::Whole(0)),
    may("background", &Kind::Word(&["transparent", "opaque", "auto"])),
    may("moderation", &Kind::Word(&["low", "auto"])),
    may("partial_images", &Kind::Whole(0)),
    may("stream", &Kind::Bool),
    may("style", &Kind::Word(&["vivid", "natural"])),
    may("user", &Kind::Text),
]);

/// What is wanted, wherever it was written.
struct Wanted {
    heard: String,
    n: u64,
    /// Where the image is, instead of the image; none if the model decides.
    url: Option<bool>,
    stream: bool,
    partial_images: u64,
}

impl Endpoint for Generations {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = if body["model"].is_null() { "dall-e-2".to_owned() } else { named(&body)? };
        let ask = move || {
            by_kind(&GENERATION, &body)?;
            let stream = body["stream"] == true;
            if body["partial_images"].is_number() && !stream {
                return Err(invalid("partial_images", "write it only when `stream` is true"));
            }
            asked(Wanted {
                heard: body["prompt"].as_str().unwrap_or_default().to_owned(),
                n: body["n"].as_u64().unwrap_or(1),
                url: body["response_format"].as_str().map(|format| format == "url"),
                stream,
                partial_images: body["partial_images"].as_u64().unwrap_or(0).min(3),
            })
        };
        Ok(Understood { model: model.into(), ask: Box::new(ask) })
    }
}

impl Endpoint for Edits {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let form = Form::read(received)?;
        let model = form.text("model").unwrap_or("dall-e-2").to_owned();
        let ask = move || {
            let known = [
                "image",
                "image[]",
                "model",
                "n",
                "size",
                "response_format",
                "user",
                "prompt",
                "mask",
                "quality",
                "background",
                "output_format",
                "output_compression",
                "input_fidelity",
                "stream",
                "partial_images",
            ];
            let known = if self.varies { &known[..7] } else { &known[..] };
            if let Some(name) = form.unknown(known) {
                return Err(invalid(name, "it is no field of this form"));
            }
            let mut heard: Vec<String> = form.text("prompt").map(str::to_owned).into_iter().collect();
            if heard.is_empty() && !self.varies {
                return Err(missing("prompt", "say what to change"));
            }
            let images: Vec<_> = form.files("image").chain(form.files("image[]")).collect();
            if images.is_empty() {
                return Err(missing("image", "send an image with its name"));
            }
            for file in images.into_iter().chain(form.files("mask")) {
                let png = file.data.starts_with(b"\x89PNG") || file.data.starts_with(b"\xff\xd8\xff");
                if !png && file.data.get(8..12) != Some(b"WEBP") {
                    return Err(invalid(&file.name, "the file must be a PNG, JPEG or WebP image"));
                }
                heard.push(format!("[{},{}B,{}]", file.name, file.data.len(), fingerprint(file.data)));
            }
            let n = form.text("n").map_or(Ok(1), str::parse).map_err(|_| invalid("n", "write 1 to 10"))?;
            asked(Wanted {
                heard: heard.join(" "),
                n,
                url: form.text("response_format").map(|format| format == "url"),
                stream: form.text("stream") == Some("true"),
                partial_images: form.text("partial_images").and_then(|n| n.parse().ok()).unwrap_or(0).min(3),
            })
        };
        Ok(Understood { model: model.into(), ask: Box::new(ask) })
    }
}

fn asked<'r>(wanted: Wanted) -> Result<Asked<'r>, ApiError> {
    if !(1..=10).contains(&wanted.n) {
        return Err(invalid("n", "write 1 to 10"));
    }
    let words = count_words(&wanted.heard) as u64;
    Ok(Asked::whole(words, move |setting: Setting<'_>| wanted.made(words, setting)))
}

impl Wanted {
    fn made(&self, words: u64, setting: Setting<'_>) -> Made {
        let url = self.url.unwrap_or_else(|| setting.base.starts_with("dall-e"));
        let said = Text::sentence(setting.base, "heard:", &self.heard, setting.step, Limits::default()).text;
        let usage = json!({
            "input_tokens": words, "output_tokens": self.n, "total_tokens": words + self.n,
            "input_tokens_details": {"text_tokens": words, "image_tokens": 0},
        });
        if self.stream {
            return self.events(&usage, setting);
        }
        let image = |number: u64| {
            let place = format!("https://images.example/{:016x}-{number}.png", setting.id);
            let mut image = json!({"revised_prompt": said});
            if url {
                image["url"] = place.into()
            } else {
                image["b64_json"] = PIXEL.into()
            }
            image
        };
        let mut answer = json!({"created": CREATED, "data": (0..self.n).map(image).collect::<Vec<_>>()});
        if setting.step.usage {
            answer["usage"] = usage;
        }
        Made::whole(text::json(&answer), self.n)
    }

    fn events(&self, usage: &Value, setting: Setting<'_>) -> Made {
        let written = |name: &'static str, mut event: Value| {
            event["type"] = name.into();
            event["created_at"] = CREATED.into();
            event["b64_json"] = PIXEL.into();
            let mut bytes = Vec::new();
            Framing::Sse.write(&mut bytes, &Event::named(name, &event), false, None);
            bytes
        };
        let partial = |number: u64| {
            let bytes = written("image_generation.partial_image", json!({"partial_image_index": number}));
            Piece { bytes: bytes.into(), chunk: usize::try_from(number + 1).ok(), tokens: 0 }
        };
        let mut pieces: Vec<_> = (0..self.partial_images).map(partial).collect();
        let mut done = json!({});
        if setting.step.usage {
            done["usage"] = usage.clone();
        }
        let bytes = written("image_generation.completed", done);
        pieces.push(Piece { bytes: bytes.into(), chunk: Some(pieces.len() + 1), tokens: self.n });
        Made {
            content: Content::Stream(Box::new(pieces.into_iter())),
            content_type: Framing::Sse.content_type(),
            output_tokens: 0,
        }
    }
}
