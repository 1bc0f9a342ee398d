//! Places in a JSON document.

use serde_json::Value;

/// One step into a document.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Field(String),
    Element(usize),
}

/// Every place but the document itself.
pub(crate) fn all(document: &Value) -> Vec<Vec<Step>> {
    let mut found = Vec::new();
    walk(document, &mut Vec::new(), &mut found);
    found
}

fn walk(value: &Value, at: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    let mut step = |step: Step, value: &Value| {
        at.push(step);
        found.push(at.clone());
        walk(value, at, found);
        at.pop();
    };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| step(Step::Field(name.clone()), value));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(i, value)| step(Step::Element(i), value));
        }
        _ => {}
    }
}

/// What stands at that place, and the document without it.
pub(crate) fn without(document: &Value, path: &[Step]) -> (Value, Value) {
    let (last, way) = path.split_last().expect("a place in the document");
    let mut without = document.clone();
    let parent = way.iter().fold(&mut without, |value, step| match step {
        Step::Field(name) => &mut value[name.as_str()],
        Step::Element(i) => &mut value[*i],
    });
    let taken = match last {
        Step::Field(name) => parent.as_object_mut().unwrap().shift_remove(name).unwrap(),
        Step::Element(i) => parent.as_array_mut().unwrap().remove(*i),
    };
    (taken, without)
}

/// A place as errors write it.
pub(crate) fn written(path: &[Step]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Field(name) => format!(".{name}"),
        Step::Element(i) => format!("[{i}]"),
    });
    steps.collect::<String>().trim_start_matches('.').to_owned()
}
