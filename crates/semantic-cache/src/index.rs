//! Vectors of one model, by what requests must have in common: found by looking at all of them, which is exact, and
//! quicker than embedding the question up to some ten thousand in one partition.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::Place;

#[cfg(test)]
mod tests;

/// Numbers that are multiplied at once.
const LANES: usize = 32;

/// Vectors of a partition, one after the other.
#[derive(Default)]
struct Matrix {
    values: Vec<f32>,
    rows: Vec<Arc<Place>>,
}

/// Vectors of one model.
#[derive(Default)]
pub(crate) struct Index {
    /// Digest of the model. None: nothing was embedded yet.
    model: Option<String>,
    /// Numbers in a vector.
    dimensions: usize,
    partitions: HashMap<String, Matrix>,
    /// Partition and row.
    places: HashMap<Arc<Place>, (String, usize)>,
}

impl Index {
    /// Digest of the model whose vectors count.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Vectors that are held.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the vector of an entry is held.
    pub(crate) fn holds(&self, place: &Place) -> bool {
        self.places.contains_key(place)
    }

    /// From now on vectors of this model count, and no others.
    pub(crate) fn begin(&mut self, model: &str) {
        *self = Self { model: Some(model.to_owned()), ..Self::default() };
    }

    /// Holds a vector of the present model; of another one it does not.
    pub(crate) fn insert(&mut self, place: &Arc<Place>, partition: &str, model: &str, values: &[f32]) {
        if self.model.as_deref() != Some(model) || values.is_empty() {
            return;
        }
        if self.places.is_empty() {
            self.dimensions = values.len();
        }
        if values.len() != self.dimensions {
            return;
        }
        self.remove(place);
        let matrix = self.partitions.entry(partition.to_owned()).or_default();
        self.places.insert(Arc::clone(place), (partition.to_owned(), matrix.rows.len()));
        matrix.values.extend_from_slice(values);
        matrix.rows.push(Arc::clone(place));
    }

    /// Forgets a vector. The last one of its partition takes its row.
    pub(crate) fn remove(&mut self, place: &Place) {
        let Some((partition, row)) = self.places.remove(place) else { return };
        let Some(matrix) = self.partitions.get_mut(&partition) else { return };
        let last = matrix.rows.len() - 1;
        let width = self.dimensions;
        matrix.rows.swap_remove(row);
        matrix.values.copy_within(last * width..(last + 1) * width, row * width);
        matrix.values.truncate(last * width);
        if let Some(moved) = matrix.rows.get(row)
            && let Some(place) = self.places.get_mut(moved)
        {
            place.1 = row;
        }
        if matrix.rows.is_empty() {
            self.partitions.remove(&partition);
        }
    }

    /// The `most` entries of a partition that are most alike, the best first; among equals the smaller place.
    pub(crate) fn top(&self, partition: &str, query: &[f32], most: usize) -> Vec<(f32, Arc<Place>)> {
        let Some(matrix) = self.partitions.get(partition) else { return Vec::new() };
        if query.len() != self.dimensions || most == 0 {
            return Vec::new();
        }
        let mut best: Vec<(f32, &Arc<Place>)> = Vec::with_capacity(most + 1);
        for (values, place) in matrix.values.chunks_exact(self.dimensions).zip(&matrix.rows) {
            let score = dot(values, query);
            if best.len() == most && best.last().is_some_and(|last| before(last, &(score, place))) {
                continue;
            }
            let at = best.partition_point(|other| before(other, &(score, place)));
            best.insert(at, (score, place));
            best.truncate(most);
        }
        best.into_iter().map(|(score, place)| (score, Arc::clone(place))).collect()
    }
}

fn before(a: &(f32, &Arc<Place>), b: &(f32, &Arc<Place>)) -> bool {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)) == Ordering::Less
}

/// The product of two vectors; of normalised ones the cosine.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
