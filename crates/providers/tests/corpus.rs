//! Plays what fuzzing found worth keeping: every file of `fuzz/seeds/<decoder>/` is given to its decoder.

mod decoders;

use std::fs;
use std::path::Path;

use decoders::DECODERS;

#[test]
fn decoders_stand_what_is_kept() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, _) in DECODERS {
        let folder = fs::read_dir(seeds.join(name)).unwrap_or_else(|err| panic!("seeds of {name}: {err}"));
        let mut count = 0;
        for file in folder {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            // Names the file if it breaks a law.
            eprintln!("{}", path.display());
            decoders::run(name, &bytes);
            count += 1;
        }
        assert!(count >= 20, "{name} has only {count} seeds");
    }
}

/// Whoever adds a decoder adds its program, and nothing is left of one that is gone.
#[test]
fn every_decoder_has_a_program_to_fuzz_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter();
    let programs: Vec<&str> = programs.map(|bin| bin["name"].as_str().unwrap()).collect();
    let decoders: Vec<&str> = DECODERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, decoders);
    let folders = fs::read_dir(root.join("seeds")).unwrap();
    let mut folders: Vec<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut sorted = decoders;
    sorted.sort_unstable();
    assert_eq!(folders, sorted);
}
