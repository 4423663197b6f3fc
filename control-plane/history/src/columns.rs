//! Columns in memory: named arrays put together, and taken apart again by name.
//!
//! Owns: the little of Arrow that the `*_columns` files share. A schema is never
//! written down twice: it is what encoding no rows gives. Knows no domain type.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray,
    PrimitiveBuilder, RecordBatch, StringArray, StringBuilder, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{Field, Fields};

use crate::error::HistoryError;

/// Columns under construction, all of the same length.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn push(&mut self, name: &str, array: ArrayRef, nullable: bool) {
        let kind = array.data_type().clone();
        self.fields.push(Field::new(name, kind, nullable));
        self.arrays.push(array);
    }

    pub(crate) fn text<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        let mut builder = StringBuilder::new();
        values.for_each(|value| builder.append_value(value));
        self.push(name, Arc::new(builder.finish()), false);
    }

    pub(crate) fn text_opt<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = Option<&'a str>>,
    ) {
        self.push(name, Arc::new(values.collect::<StringArray>()), true);
    }

    pub(crate) fn number<T: ArrowPrimitiveType>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = T::Native>,
    ) {
        let array = PrimitiveArray::<T>::from_iter_values(values);
        self.push(name, Arc::new(array), false);
    }

    pub(crate) fn number_opt<T: ArrowPrimitiveType>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = Option<T::Native>>,
    ) {
        let mut builder = PrimitiveBuilder::<T>::new();
        values.for_each(|value| builder.append_option(value));
        self.push(name, Arc::new(builder.finish()), true);
    }

    pub(crate) fn flag(&mut self, name: &str, values: impl Iterator<Item = bool>) {
        let array = BooleanArray::from(values.collect::<Vec<_>>());
        self.push(name, Arc::new(array), false);
    }

    pub(crate) fn flag_opt(&mut self, name: &str, values: impl Iterator<Item = Option<bool>>) {
        let array = BooleanArray::from(values.collect::<Vec<_>>());
        self.push(name, Arc::new(array), true);
    }

    /// A list per row: `lengths` says how many of `items` belong to each.
    pub(crate) fn list(
        &mut self,
        name: &str,
        lengths: impl Iterator<Item = usize>,
        items: ArrayRef,
    ) -> Result<(), HistoryError> {
        let array = list(lengths, items, None)?;
        self.push(name, Arc::new(array), false);
        Ok(())
    }

    /// A list per row, or none.
    pub(crate) fn list_opt(
        &mut self,
        name: &str,
        lengths: &[Option<usize>],
        items: ArrayRef,
    ) -> Result<(), HistoryError> {
        let present = NullBuffer::from_iter(lengths.iter().map(Option::is_some));
        let lengths = lengths.iter().map(|length| length.unwrap_or(0));
        let array = list(lengths, items, Some(present))?;
        self.push(name, Arc::new(array), true);
        Ok(())
    }

    pub(crate) fn into_struct(self) -> Result<StructArray, HistoryError> {
        Ok(StructArray::try_new(
            Fields::from(self.fields),
            self.arrays,
            None,
        )?)
    }

    pub(crate) fn into_batch(self) -> Result<RecordBatch, HistoryError> {
        self.into_struct().map(RecordBatch::from)
    }
}

fn list(
    lengths: impl Iterator<Item = usize>,
    items: ArrayRef,
    present: Option<NullBuffer>,
) -> Result<ListArray, HistoryError> {
    let field = Field::new("item", items.data_type().clone(), false);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(field.into(), offsets, items, present)?)
}

/// Columns to read from, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    columns: &'a StructArray,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(columns: &'a StructArray) -> Self {
        Self { columns }
    }

    /// The elements of all lists of a column.
    pub(crate) fn of_items(list: &'a ListArray, name: &'static str) -> Result<Self, HistoryError> {
        let columns = list.values().as_struct_opt();
        columns.map(Self::new).ok_or(HistoryError::malformed(name))
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    fn column(&self, name: &'static str) -> Result<&'a ArrayRef, HistoryError> {
        let column = self.columns.column_by_name(name);
        column.ok_or(HistoryError::malformed(name))
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<&'a StringArray, HistoryError> {
        let column = self.column(name)?.as_string_opt::<i32>();
        column.ok_or(HistoryError::malformed(name))
    }

    pub(crate) fn number<T: ArrowPrimitiveType>(
        &self,
        name: &'static str,
    ) -> Result<&'a PrimitiveArray<T>, HistoryError> {
        let column = self.column(name)?.as_primitive_opt::<T>();
        column.ok_or(HistoryError::malformed(name))
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<&'a BooleanArray, HistoryError> {
        let column = self.column(name)?.as_boolean_opt();
        column.ok_or(HistoryError::malformed(name))
    }

    pub(crate) fn list(&self, name: &'static str) -> Result<&'a ListArray, HistoryError> {
        let column = self.column(name)?.as_list_opt::<i32>();
        column.ok_or(HistoryError::malformed(name))
    }
}

/// Where row `i`'s items lie among all items.
pub(crate) fn span(list: &ListArray, i: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[i] as usize..offsets[i + 1] as usize
}

pub(crate) fn text_at(array: &StringArray, i: usize) -> Option<&str> {
    array.is_valid(i).then(|| array.value(i))
}

pub(crate) fn number_at<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    i: usize,
) -> Option<T::Native> {
    array.is_valid(i).then(|| array.value(i))
}
