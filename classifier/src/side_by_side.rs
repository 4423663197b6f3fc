//! Work on a few threads, with results that do not tell.
//!
//! Owns: how many threads a run takes, and that results come in the order of their items,
//! whichever thread made them and whenever.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads of each step of a run: it should leave other cores be.
pub(crate) const THREADS: usize = 2;
/// Rows that are taken at a time where there are many.
const ROWS: usize = 1_024;

/// What `work` makes of each item, on so many threads, of which the caller's is one.
pub(crate) fn each<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    if threads < 2 || items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => done.push((index, work(item))),
                None => return done,
            }
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len()))
            .map(|_| scope.spawn(some))
            .collect();
        let mut done = some();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, made)| made).collect()
}

/// The same for many small items.
pub(crate) fn rows<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let parts: Vec<&[I]> = items.chunks(ROWS).collect();
    let made = each(THREADS, &parts, |part| {
        part.iter().map(&work).collect::<Vec<T>>()
    });
    made.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..5_000).collect();
        let late = |item: &usize| {
            if item.is_multiple_of(1_000) {
                (0..1_000).for_each(|_| std::thread::yield_now());
            }
            2 * item
        };
        let expected: Vec<usize> = items.iter().map(|item| 2 * item).collect();
        for threads in [1, 2, 7] {
            assert_eq!(each(threads, &items, late), expected);
        }
        assert_eq!(rows(&items, late), expected);
        assert!(each(3, &[], late).is_empty());
    }
}
