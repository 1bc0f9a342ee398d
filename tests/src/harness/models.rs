//! A real embedding model and the library that runs it, made and fetched once per machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::installed::{once, read};
use super::python;

/// The folder of all-MiniLM-L6-v2, made by `deploy/models/minilm_onnx.py`. Blocks; the first time takes a download of
/// 100 MB. Fails loudly: a test without its model proves nothing.
pub fn minilm() -> PathBuf {
    make().unwrap_or_else(|problem| panic!("the embedding model could not be made: {problem}"))
}

/// libonnxruntime, as the product finds or fetches it. Blocks.
#[expect(clippy::disallowed_methods, reason = "a test finds its tools by the environment")]
pub fn onnxruntime() -> PathBuf {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    pointsman::onnxruntime::locate(None, &env).expect("find or fetch libonnxruntime")
}

fn make() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository");
    let (script, requirements) =
        (home.join("deploy/models/minilm_onnx.py"), home.join("deploy/models/requirements.txt"));
    // The same packages and script give the same bytes on every Python.
    let identity = [read(&script)?, read(&requirements)?].concat();
    let (place, _) = once("minilm", &identity, |place| {
        let (maker, model) = (place.join("maker"), place.join("model"));
        std::fs::create_dir_all(place).map_err(|err| format!("create {}: {err}", place.display()))?;
        let told = python::run_with(maker.clone(), &requirements, &script, &model)?;
        // 220 MB that are not needed again.
        let _ = std::fs::remove_dir_all(maker);
        Ok(told)
    })?;
    Ok(place.join("model"))
}
