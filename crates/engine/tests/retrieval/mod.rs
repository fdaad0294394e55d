//! A search task that the project makes itself, and how far two rankings of it agree.
//!
//! Lower precision moves every vector a little. What users see of it is the order of search results, so that is compared: the vectors
//! of two precisions rank all passages for each query.
//!
//! 40 queries about 200 passages: each passage combines a subject with a property, and each query asks for one subject and one
//! property in other words. The passages about the same subject and those with the same property are near misses, so small
//! errors can change the order.

/// What a passage is about: its words there, and the words of a query.
const SUBJECTS: [(&str, &str); 20] = [
    ("The old lighthouse", "the tower for ships on the coast"),
    ("A night train", "a railway journey after dark"),
    ("The village bakery", "the shop with fresh bread"),
    ("A mountain goat", "an animal that climbs rocks"),
    ("The city library", "the place to borrow books"),
    ("A wooden violin", "a string instrument"),
    ("The volcano", "the mountain that erupts"),
    ("A honey bee", "an insect that collects nectar"),
    ("The wind turbine", "the machine that makes electricity from wind"),
    ("A chess computer", "a program that plays board games"),
    ("The desert fox", "a small predator of the dunes"),
    ("A glass bridge", "a transparent walkway"),
    ("The tax office", "the authority that collects money from citizens"),
    ("A hospital nurse", "a person who cares for patients"),
    ("The coral reef", "the home of tropical fish"),
    ("A diesel engine", "a motor that burns heavy oil"),
    ("The football club", "the team that plays on grass"),
    ("A space probe", "a craft that flies to other planets"),
    ("The vineyard", "the farm where grapes grow"),
    ("A paper map", "a printed plan of roads"),
];

/// What a passage says about its subject, and the words of a query.
const PROPERTIES: [(&str, &str); 10] = [
    ("was repaired last spring after a storm", "damage by bad weather"),
    ("costs more than most people can pay", "a high price"),
    ("attracts visitors from many countries", "tourism"),
    ("is described in a famous novel", "literature"),
    ("needs very little water", "dry conditions"),
    ("makes a loud noise in the morning", "sound early in the day"),
    ("was painted bright red", "colour"),
    ("is protected by a new law", "regulation"),
    ("became slower with age", "growing old"),
    ("saved the lives of three children", "rescue"),
];

/// Queries and passages.
pub struct Task {
    pub queries: Vec<String>,
    pub passages: Vec<String>,
    /// For each query, the passage that it asks for.
    pub wanted: Vec<usize>,
}

/// Every subject with every property; two queries for each subject.
pub fn task() -> Task {
    let passages = SUBJECTS
        .iter()
        .flat_map(|(subject, _)| PROPERTIES.iter().map(move |(says, _)| format!("{subject} {says}.")));
    let mut task = Task { queries: Vec::new(), passages: passages.collect(), wanted: Vec::new() };
    for (subject, (_, asked)) in SUBJECTS.iter().enumerate() {
        for property in [subject % PROPERTIES.len(), (subject + 5) % PROPERTIES.len()] {
            task.queries.push(format!("{asked}: {}?", PROPERTIES[property].1));
            task.wanted.push(subject * PROPERTIES.len() + property);
        }
    }
    task
}

/// The passages in descending order of their similarity to a query. Equal similarities keep the order of the passages.
pub fn ranking(query: &[f32], passages: &[Vec<f32>]) -> Vec<usize> {
    let similarity = |passage: &Vec<f32>| {
        query.iter().zip(passage).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
    };
    let similarities: Vec<f64> = passages.iter().map(similarity).collect();
    let mut order: Vec<usize> = (0..passages.len()).collect();
    order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
    order
}

/// Agreement of two rankings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of the first ten that both have.
    pub top_10: f64,
    /// Kendall's tau over all passages: 1 for the same order, -1 for the opposite one.
    pub kendall: f64,
}

/// Compares two rankings of the same passages.
pub fn agreement(a: &[usize], b: &[usize]) -> Agreement {
    let top = a.len().min(10);
    let common = a[..top].iter().filter(|passage| b[..top].contains(passage)).count();
    let mut position = vec![0; b.len()];
    b.iter().enumerate().for_each(|(rank, passage)| position[*passage] = rank);
    let (mut concordant, mut pairs) = (0_i64, 0_i64);
    for i in 0..a.len() {
        for j in i + 1..a.len() {
            pairs += 1;
            concordant += if position[a[i]] < position[a[j]] { 1 } else { -1 };
        }
    }
    Agreement { top_10: common as f64 / top as f64, kendall: concordant as f64 / pairs as f64 }
}

/// The mean over all queries, and the worst query of each measure.
pub fn compare(task: &Task, [a, b]: [&[Vec<f32>]; 2]) -> (Agreement, Agreement) {
    let (queries, mut sum) = (task.queries.len(), Agreement { top_10: 0.0, kendall: 0.0 });
    let mut worst = Agreement { top_10: 1.0, kendall: 1.0 };
    for query in 0..queries {
        let ranked = |vectors: &[Vec<f32>]| ranking(&vectors[query], &vectors[queries..]);
        let one = agreement(&ranked(a), &ranked(b));
        sum = Agreement { top_10: sum.top_10 + one.top_10, kendall: sum.kendall + one.kendall };
        worst = Agreement { top_10: worst.top_10.min(one.top_10), kendall: worst.kendall.min(one.kendall) };
    }
    (Agreement { top_10: sum.top_10 / queries as f64, kendall: sum.kendall / queries as f64 }, worst)
}
