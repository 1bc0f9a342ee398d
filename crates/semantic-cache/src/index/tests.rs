//! The nearest vectors, against a plain scan.

use domain::{RequestId, Workspace};
use proptest::prelude::*;

use super::*;

fn place(n: usize) -> Arc<Place> {
    Arc::new(Place { id: RequestId::parse(&format!("r{n:04}")).unwrap(), workspace: Workspace::default() })
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize, Vec<f32>),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let vector = || prop::collection::vec(-1.0_f32..1.0, 37);
    prop_oneof![
        3 => (0..20_usize, 0..3_usize, vector()).prop_map(|(n, partition, values)| Step::Insert(n, partition, values)),
        1 => (0..20_usize).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn finds_what_a_plain_scan_finds(
        steps in prop::collection::vec(step(), 0..80),
        query in prop::collection::vec(-1.0_f32..1.0, 37),
        most in 0..7_usize,
    ) {
        let mut index = Index::default();
        index.begin("m");
        let mut naive: HashMap<usize, (usize, Vec<f32>)> = HashMap::new();
        for step in steps {
            match step {
                Step::Insert(n, partition, values) => {
                    index.insert(&place(n), &format!("p{partition}"), "m", &values);
                    naive.insert(n, (partition, values));
                }
                Step::Remove(n) => {
                    index.remove(&place(n));
                    naive.remove(&n);
                }
            }
        }
        prop_assert_eq!(index.len(), naive.len());
        for partition in 0..3 {
            let among = naive.iter().filter(|(_, (where_to, _))| *where_to == partition);
            let mut all: Vec<_> = among.map(|(n, (_, values))| (dot(values, &query), place(*n))).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            all.truncate(most);
            prop_assert_eq!(index.top(&format!("p{partition}"), &query, most), all);
        }
    }

    #[test]
    fn the_product_is_the_sum_of_products(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..200)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let exact: f64 = pairs.iter().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-4);
    }
}

#[test]
fn vectors_of_another_model_or_length_are_not_held() {
    let mut index = Index::default();
    index.insert(&place(1), "p", "m", &[1.0]);
    assert_eq!(index.len(), 0, "no model yet");
    index.begin("m");
    index.insert(&place(1), "p", "m", &[1.0, 0.0]);
    index.insert(&place(2), "p", "other", &[1.0, 0.0]);
    index.insert(&place(3), "p", "m", &[1.0]);
    assert_eq!((index.len(), index.holds(&place(1))), (1, true));
    assert!(index.top("p", &[1.0], 5).is_empty(), "a question of another length");
    index.begin("other");
    assert_eq!((index.len(), index.model()), (0, Some("other")));
}
