/// Bodies of embedding requests with one text of 6 to 30 words each; the same in every run.
pub fn embedding_requests() -> Vec<Vec<u8>> {
    const WORDS: [&str; 16] = [
        "river", "stone", "the", "engine", "of", "a", "quiet", "harbour", "carries", "light", "over",
        "seven", "old", "bridges", "and", "fields",
    ];
    (0..64)
        .map(|number| {
            let length = 6 + number * 7 % 25;
            let words: Vec<_> =
                (0..length).map(|word| WORDS[(number * 5 + word * 3 + word * word) % WORDS.len()]).collect();
            format!("{{\"input\":{:?}}}", words.join(" ")).into_bytes()
        })
        .collect()
}
