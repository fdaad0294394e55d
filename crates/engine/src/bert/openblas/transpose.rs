//! Transposition of a matrix.

/// `out[column][row] = data[row][column]` for the first `columns` of each row of `stride` values.
pub(super) fn transpose(data: &[f32], stride: usize, columns: usize, out: &mut [f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_swapped_within_the_stride() {
        for (rows, columns, stride) in [(1, 1, 1), (3, 5, 7), (16, 32, 98), (17, 33, 40)] {
            let data: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let mut out = vec![0.0; rows * columns];
            transpose(&data, stride, columns, &mut out);
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(out[column * rows + row], data[row * stride + column], "{rows}x{columns}");
                }
            }
        }
    }
}
