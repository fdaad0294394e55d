//! Views of row-major matrices.
//!
//! [`MatrixMut`] can be divided by columns, so that several threads write different columns of the same rows.

use std::marker::PhantomData;
use std::ops::Range;

use crate::buffer::Element;

/// A matrix that is read.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T: Element> Matrix<'a, T> {
    /// `rows` rows of `columns` elements, the first elements of two rows `stride` apart. Panics when `data` is shorter.
    #[inline(always)]
    pub fn new(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride, "rows overlap: {columns} columns, {stride} apart");
        assert!(data.len() >= length(rows, columns, stride), "{} elements for {rows} rows", data.len());
        Matrix { data, rows, columns, stride }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// One row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.data[row * self.stride..][..self.columns]
    }

    /// The first element; valid for all rows of this view.
    pub fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }

    /// The view of some rows and columns.
    #[must_use]
    #[inline(always)]
    pub fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "{rows:?}, {columns:?}");
        let start = rows.start * self.stride + columns.start;
        Matrix::new(self.data.get(start..).unwrap_or_default(), rows.len(), columns.len(), self.stride)
    }
}

/// A matrix that is written. Owns the elements of its columns, not those between two rows.
pub struct MatrixMut<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the only way to the elements, as `&mut [T]`.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

impl<'a, T: Element> MatrixMut<'a, T> {
    /// As [`Matrix::new`].
    pub fn new(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> Self {
        Matrix::new(&*data, rows, columns, stride);
        MatrixMut { start: data.as_mut_ptr(), rows, columns, stride, borrow: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements from the start of one row to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The first element; only the columns of this view may be accessed through it.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }

    /// One row.
    #[inline(always)]
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let start = self.start.wrapping_add(row * self.stride);
        // SAFETY: the row is inside of the borrowed slice, and its columns belong to this view only.
        unsafe { std::slice::from_raw_parts_mut(start, self.columns) }
    }

    /// The same elements for a shorter time.
    pub fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut { borrow: PhantomData, ..*self }
    }

    /// Some of the rows.
    #[inline(always)]
    pub fn rows_mut(&mut self, rows: Range<usize>) -> MatrixMut<'_, T> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {}", self.rows);
        let start =
            if rows.is_empty() { self.start } else { self.start.wrapping_add(rows.start * self.stride) };
        MatrixMut { start, rows: rows.len(), ..self.reborrow() }
    }

    /// Some of the columns.
    pub fn columns_mut(&mut self, columns: Range<usize>) -> MatrixMut<'_, T> {
        assert!(
            columns.start <= columns.end && columns.end <= self.columns,
            "{columns:?} of {}",
            self.columns
        );
        self.reborrow().split_columns(columns.end).0.split_columns(columns.start).1
    }

    /// Divides the matrix into the columns before and from `column` on.
    pub fn split_columns(self, column: usize) -> (Self, Self) {
        assert!(column <= self.columns, "column {column} of {}", self.columns);
        let right = MatrixMut {
            start: self.start.wrapping_add(column),
            columns: self.columns - column,
            ..MatrixMut { borrow: PhantomData, ..self }
        };
        (MatrixMut { columns: column, ..self }, right)
    }
}

/// A matrix of which several threads read and write parts, in phases that a barrier separates.
#[derive(Clone, Copy)]
pub struct SharedMatrix<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the elements are accessed by unsafe methods only, whose callers rule out conflicts.
unsafe impl<T: Send> Send for SharedMatrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMatrix<'_, T> {}

impl<'a, T: Element> SharedMatrix<'a, T> {
    /// All of `data` as rows of `columns` elements.
    pub fn new(data: &'a mut [T], columns: usize) -> Self {
        assert!(
            columns > 0 && data.len().is_multiple_of(columns),
            "{} elements in rows of {columns}",
            data.len()
        );
        Self { start: data.as_mut_ptr(), rows: data.len() / columns, columns, borrow: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All elements, to read.
    ///
    /// # Safety
    ///
    /// No thread writes to the matrix before the next barrier.
    pub unsafe fn read(&self) -> Matrix<'a, T> {
        // SAFETY: the borrow of `new` covers the elements; the caller rules out writes.
        let data = unsafe { std::slice::from_raw_parts(self.start, self.rows * self.columns) };
        Matrix::new(data, self.rows, self.columns, self.columns)
    }

    /// Some columns of all rows, to write.
    ///
    /// # Safety
    ///
    /// No other thread accesses these columns before the next barrier.
    pub unsafe fn columns_mut(&self, columns: Range<usize>) -> MatrixMut<'a, T> {
        assert!(
            columns.start <= columns.end && columns.end <= self.columns,
            "{columns:?} of {}",
            self.columns
        );
        let start = self.start.wrapping_add(columns.start);
        MatrixMut {
            start,
            rows: self.rows,
            columns: columns.len(),
            stride: self.columns,
            borrow: PhantomData,
        }
    }

    /// Some rows, to write.
    ///
    /// # Safety
    ///
    /// No other thread accesses these rows before the next barrier.
    pub unsafe fn rows_mut(&self, rows: Range<usize>) -> MatrixMut<'a, T> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {}", self.rows);
        let (start, columns) = (self.start.wrapping_add(rows.start * self.columns), self.columns);
        MatrixMut { start, rows: rows.len(), columns, stride: columns, borrow: PhantomData }
    }
}

/// Elements from the first one to the last one.
fn length(rows: usize, columns: usize, stride: usize) -> usize {
    let before_last = rows.saturating_sub(1).checked_mul(stride);
    let columns = if rows == 0 { 0 } else { columns };
    before_last.and_then(|n| n.checked_add(columns)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_elements_of_their_rows_and_columns() {
        let data: Vec<f32> = (0..14).map(|i| i as f32).collect();
        let matrix = Matrix::new(&data, 3, 4, 5);
        assert_eq!(matrix.part(1..3, 2..4).row(1), [12.0, 13.0]);
        assert_eq!(matrix.part(3..3, 0..4).rows(), 0);
    }

    #[test]
    fn columns_of_the_same_rows_can_be_written_by_two_owners() {
        let mut data = vec![0i32; 14];
        let (mut left, mut right) = MatrixMut::new(&mut data, 3, 4, 5).split_columns(1);
        left.row_mut(2)[0] = 1;
        right.rows_mut(1..3).row_mut(1).copy_from_slice(&[2, 3, 4]);
        assert_eq!((left.columns(), right.columns()), (1, 3));
        assert_eq!(data[9..], [0, 1, 2, 3, 4]);
    }

    #[test]
    fn threads_write_their_columns_and_read_all_after_they_met() {
        let mut data = vec![0i32; 12];
        let shared = SharedMatrix::new(&mut data, 4);
        std::thread::scope(|scope| {
            for half in 0..2 {
                scope.spawn(move || {
                    // SAFETY: each thread has columns of its own, and nothing is read before the threads end.
                    let mut own = unsafe { shared.columns_mut(2 * half..2 * half + 2) };
                    (0..3).for_each(|row| own.row_mut(row).fill(half as i32 + 1));
                });
            }
        });
        // SAFETY: no other thread has access any more.
        assert_eq!(unsafe { shared.read() }.row(2), [1, 1, 2, 2]);
        // SAFETY: as above.
        unsafe { shared.rows_mut(1..2) }.row_mut(0).fill(9);
        assert_eq!(data, [1, 1, 2, 2, 9, 9, 9, 9, 1, 1, 2, 2]);
    }

    #[test]
    #[should_panic(expected = "13 elements for 3 rows")]
    fn a_slice_that_is_too_short_is_refused() {
        Matrix::new(&[0u8; 13], 3, 4, 5);
    }

    #[test]
    #[should_panic(expected = "rows overlap")]
    fn overlapping_rows_are_refused() {
        Matrix::new(&[0u8; 20], 3, 4, 3);
    }
}
