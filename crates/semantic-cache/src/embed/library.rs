//! The library that runs models, loaded once per process.

use anyhow::{Context as _, anyhow};
use ort::environment::Environment;
use parking_lot::Mutex;

use crate::embed::options::Library;

/// The one environment that ONNX Runtime allows per process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The environment that sessions are made in; loads the library the first time. The first library that could be loaded
/// stays the one of this process.
///
/// Nothing else of `ort` or `fastembed` may be used before: they panic where this gives an error.
pub(super) fn environment(library: &Library) -> anyhow::Result<Environment> {
    let mut environment = ENVIRONMENT.lock();
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let path = library().context("find libonnxruntime")?;
    let builder = ort::init_from(&path).map_err(|err| {
        anyhow!(
            "libonnxruntime cannot be loaded ({err}): name ONNX Runtime 1.24 or newer, or remove {} to have it \
             fetched again",
            path.display()
        )
    })?;
    let made = builder.with_name("pointsman").with_telemetry(false).build().context("set up ONNX Runtime")?;
    *environment = Some(made.clone());
    Ok(made)
}
