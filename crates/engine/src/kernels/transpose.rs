//! Transposition of a matrix.

/// `out[column][row] = data[row][column]` for the first `columns` of each row of `stride` values.
pub(crate) fn transpose(data: &[f32], stride: usize, columns: usize, out: &mut [f32]) {
    /// Rows and columns of a block that fits the first-level cache in both matrices.
    const BLOCK: usize = 16;
    let rows = out.len() / columns;
    for first_column in (0..columns).step_by(BLOCK) {
        let block = first_column..columns.min(first_column + BLOCK);
        for first_row in (0..rows).step_by(BLOCK) {
            for column in block.clone() {
                let out = &mut out[column * rows..][first_row..rows.min(first_row + BLOCK)];
                for (value, row) in out.iter_mut().zip(data[first_row * stride..].chunks(stride)) {
                    *value = row[column];
                }
            }
        }
    }
}
