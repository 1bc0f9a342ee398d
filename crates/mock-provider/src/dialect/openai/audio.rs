//! Audio: speech, transcriptions and translations.
//! Source: platform.openai.com/docs/api-reference/audio.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::ApiError;
use http::HeaderValue;
use serde_json::{Value, json};

use super::{OpenAi, by_kind, fingerprint, invalid, missing, raw_stream};
use crate::chat::Setting;
use crate::endpoint::{Asked, Endpoint, Manner, Received, Understood};
use crate::multipart::Form;
use crate::player::Content;
use crate::shape::{Kind, may, must};
use crate::stream::{MOST_CHUNKS, Made, Piece};
use crate::text::{self, Limits, Text, count_words};
use crate::wire::{Event, Framing};

/// `POST /v1/audio/speech`.
pub(crate) struct Speech;

/// `POST /v1/audio/transcriptions`, or `…/translations`.
pub(crate) struct Transcriptions {
    pub(crate) translates: bool,
}

/// Chunks of a sound, unless the script says how many.
const SOUND_CHUNKS: usize = 4;

/// Longest text that is spoken, in characters.
const MAX_SPOKEN: usize = 4096;

static SPEECH: Kind = Kind::Object(&[
    must("model", &Kind::Filled),
    must("input", &Kind::Filled),
    must("voice", &Kind::Either(&[&Kind::Filled, &Kind::Map])),
    may("instructions", &Kind::Text),
    may("response_format", &Kind::Word(&["mp3", "opus", "aac", "flac", "wav", "pcm"])),
    may("speed", &Kind::Number(0.25, 4.0)),
    may("stream_format", &Kind::Word(&["sse", "audio"])),
]);

impl Endpoint for Speech {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let body = received.json()?;
        let model = super::named(&body)?;
        Ok(Understood { model: model.into(), ask: Box::new(move || speech(&body)) })
    }
}

fn speech<'r>(body: &Value) -> Result<Asked<'r>, ApiError> {
    by_kind(&SPEECH, body)?;
    let spoken = body["input"].as_str().unwrap_or_default().to_owned();
    if spoken.chars().count() > MAX_SPOKEN {
        return Err(invalid("input", &format!("write at most {MAX_SPOKEN} characters")));
    }
    let format = body["response_format"].as_str().unwrap_or("mp3").to_owned();
    let events = body["stream_format"] == "sse";
    let words = count_words(&spoken) as u64;
    Ok(Asked::whole(words, move |setting: Setting<'_>| {
        let sound = sound(&format, &spoken, setting);
        let chunks = setting.step.chunks.unwrap_or(SOUND_CHUNKS);
        let size = sound.len().div_ceil(chunks).max(1);
        let parts: Vec<_> = sound.chunks(size).map(Bytes::copy_from_slice).collect();
        if !events {
            let content_type = format!("audio/{}", if format == "mp3" { "mpeg" } else { &format });
            return raw_stream(&content_type, parts);
        }
        let usage = json!({"input_tokens": words, "output_tokens": 0, "total_tokens": words});
        let delta = |part: &Bytes| json!({"type": "speech.audio.delta", "audio": STANDARD.encode(part)});
        let done = json!({"type": "speech.audio.done", "usage": usage});
        let events = parts.iter().map(delta).chain(std::iter::once(done));
        raw_stream("text/event-stream; charset=utf-8", events.map(|event| sse(&event)).collect())
    }))
}

/// The beginning of a file of this format, then the sentence that answers as bytes.
fn sound(format: &str, spoken: &str, setting: Setting<'_>) -> Vec<u8> {
    let said = Text::sentence(setting.base, "heard:", spoken, setting.step, Limits::default()).text;
    let length = u32::try_from(said.len()).unwrap_or(u32::MAX);
    let mut bytes: Vec<u8> = match format {
        "wav" => {
            let mut header = b"RIFF".to_vec();
            header.extend_from_slice(&length.saturating_add(36).to_le_bytes());
            header
                .extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data");
            header.extend_from_slice(&length.to_le_bytes());
            header
        }
        "flac" => b"fLaC".to_vec(),
        "opus" => b"OggS".to_vec(),
        "aac" => vec![0xff, 0xf1],
        "pcm" => Vec::new(),
        _ => b"ID3\x04\0\0\0\0\0\0\xff\xfb".to_vec(),
    };
    bytes.extend_from_slice(said.as_bytes());
    bytes
}

impl Endpoint for Transcriptions {
    fn manner(&self) -> &'static dyn Manner {
        &OpenAi
    }

    fn read<'r>(&'r self, received: &'r Received<'r>) -> Result<Understood<'r>, ApiError> {
        let form = Form::read(received)?;
        let model =
            form.text("model").ok_or_else(|| missing("model", "name a model in the form"))?.to_owned();
        Ok(Understood { model: model.into(), ask: Box::new(move || self.ask(&form)) })
    }
}

impl Transcriptions {
    fn ask<'r>(&self, form: &Form<'_>) -> Result<Asked<'r>, ApiError> {
        let common = ["file", "model", "prompt", "response_format", "temperature"];
        let own = ["language", "stream", "timestamp_granularities[]", "include[]", "chunking_strategy"];
        let known: Vec<_> = common.into_iter().chain(own.into_iter().filter(|_| !self.translates)).collect();
        if let Some(name) = form.unknown(&known) {
            return Err(invalid(name, "it is no field of this form"));
        }
        let file = form.files("file").next().ok_or_else(|| missing("file", "send a file with its name"))?;
        let name = file.filename.clone().unwrap_or_default();
        extension(&name)?;
        if file.data.is_empty() {
            return Err(invalid("file", "the file is empty"));
        }
        let format = form.text("response_format").unwrap_or("json").to_owned();
        if !["json", "text", "srt", "verbose_json", "vtt"].contains(&format.as_str()) {
            return Err(invalid("response_format", "write json, text, srt, verbose_json or vtt"));
        }
        let temperature = form.text("temperature").map(str::parse::<f64>);
        if temperature.is_some_and(|given| !given.is_ok_and(|number| (0.0..=1.0).contains(&number))) {
            return Err(invalid("temperature", "write 0 to 1"));
        }
        if form.text("timestamp_granularities[]").is_some() && format != "verbose_json" {
            return Err(invalid(
                "timestamp_granularities[]",
                "write it only with `response_format` verbose_json",
            ));
        }
        let heard = format!("{name} {}B {}", file.data.len(), fingerprint(file.data));
        let streamed = form.text("stream") == Some("true");
        let language = form.text("language").unwrap_or("en").to_owned();
        let tokens = (file.data.len() as u64).div_ceil(1000);
        let words = tokens + form.text("prompt").map_or(0, |prompt| count_words(prompt) as u64);
        let task = if self.translates { "translate" } else { "transcribe" };
        Ok(Asked::whole(words, move |setting: Setting<'_>| {
            let said = Text::sentence(setting.base, "heard:", &heard, setting.step, Limits::default());
            if streamed {
                return transcript_events(&said, words, setting);
            }
            written(&format, &said, task, &language, words, setting)
        }))
    }
}

fn extension(name: &str) -> Result<(), ApiError> {
    const KNOWN: [&str; 9] = ["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"];
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if KNOWN.contains(&extension) {
        return Ok(());
    }
    Err(invalid("file", &format!("unrecognized file format of `{name}`: use one of {}", KNOWN.join(", "))))
}

fn written(format: &str, said: &Text, task: &str, language: &str, words: u64, setting: Setting<'_>) -> Made {
    let text = &said.text;
    let output = said.words as u64;
    let plain = |text: String| Made {
        content: Content::Whole(text.into()),
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        output_tokens: output,
    };
    let mut body = match format {
        "text" => return plain(format!("{text}\n")),
        "srt" => return plain(format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n")),
        "vtt" => return plain(format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n")),
        "verbose_json" => json!({
            "task": task, "language": language, "duration": 1.0, "text": text,
            "segments": [{
                "id": 0, "seek": 0, "start": 0.0, "end": 1.0, "text": text, "tokens": [], "temperature": 0.0,
                "avg_logprob": -0.25, "compression_ratio": 1.0, "no_speech_prob": 0.0,
            }],
        }),
        _ => json!({"text": text}),
    };
    if setting.step.usage {
        body["usage"] = if format == "verbose_json" {
            json!({"type": "duration", "seconds": 1})
        } else {
            token_usage(words, output)
        };
    }
    Made::whole(text::json(&body), output)
}

fn transcript_events(said: &Text, words: u64, setting: Setting<'_>) -> Made {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (number, (end, tokens)) in
        said.pieces(setting.step.chunks.unwrap_or(MOST_CHUNKS)).into_iter().enumerate()
    {
        let event = json!({"type": "transcript.text.delta", "delta": &said.text[from..end]});
        pieces.push(Piece { bytes: sse(&event), chunk: Some(number + 1), tokens: tokens as u64 });
        from = end;
    }
    let mut done = json!({"type": "transcript.text.done", "text": said.text});
    if setting.step.usage {
        done["usage"] = token_usage(words, said.words as u64);
    }
    pieces.push(Piece { bytes: sse(&done), chunk: None, tokens: 0 });
    Made {
        content: Content::Stream(Box::new(pieces.into_iter())),
        content_type: Framing::Sse.content_type(),
        output_tokens: 0,
    }
}

fn token_usage(input: u64, output: u64) -> Value {
    json!({"type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output})
}

fn sse(event: &Value) -> Bytes {
    let mut bytes = Vec::new();
    Framing::Sse.write(&mut bytes, &Event::plain(event), false, None);
    bytes.into()
}
