//! Memories in hexadecimal, 16 bytes a row.

use super::Memory;
use anyhow::{Result, ensure};
use std::fmt;

/// Part of a [`Memory`], which prints in hexadecimal: rows with address, bytes and characters, and
/// at last the address behind them. Of several rows of zeros the first is printed, and then a `*`.
#[derive(Debug)]
pub struct HexDump<'a> {
    memory: &'a Memory<'a>,
    start: u64,
    end: u64,
}

impl Memory<'_> {
    /// The `len` bytes at `address`, for printing; fewer if the memory ends before.
    ///
    /// # Errors
    ///
    /// If `address` is behind the memory's end.
    pub fn hex_dump(&self, address: u64, len: u64) -> Result<HexDump<'_>> {
        let size = self.size();
        ensure!(
            address <= size,
            "address {address:#x} is behind the end of the memory: it has {size:#x} bytes"
        );
        let end = address.saturating_add(len).min(size);
        Ok(HexDump { memory: self, start: address, end })
    }
}

/// Bytes in a row.
const ROW: usize = 16;

impl HexDump<'_> {
    /// The row at `address`, which is within the range.
    fn row(&self, address: u64) -> ([u8; ROW], usize) {
        let mut row = [0; ROW];
        let len = (ROW as u64).min(self.end - address) as usize;
        // Never false, as `end` is within the memory.
        self.memory.read(address, &mut row[..len]);
        (row, len)
    }

    /// The address of the first row at or behind `address` that is not zero.
    fn behind_zeros(&self, mut address: u64) -> u64 {
        let segments = &self.memory.segments;
        while address < self.end {
            // Where no segment is, straight to the row in which the next begins: a memory can be
            // said to have any size.
            let next = segments.partition_point(|segment| segment.end() <= address);
            let next = segments.get(next).map_or(self.end, |segment| segment.offset.min(self.end));
            let rows = next.saturating_sub(address) / ROW as u64;
            if rows > 0 {
                address += rows * ROW as u64;
                continue;
            }
            let (row, len) = self.row(address);
            if row != [0; ROW] {
                break;
            }
            address += len as u64;
        }
        address
    }
}

impl fmt::Display for HexDump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.end > 1 << 32 { 16 } else { 8 };
        let mut address = self.start;
        while address < self.end {
            let (row, len) = self.row(address);
            write!(f, "{address:0width$x} ")?;
            for at in 0..ROW {
                // In two groups of eight.
                let gap = if at == ROW / 2 { "  " } else { " " };
                match row[..len].get(at) {
                    Some(byte) => write!(f, "{gap}{byte:02x}")?,
                    None => write!(f, "{gap}  ")?,
                }
            }
            let text = row[..len].iter().map(|&byte| match byte {
                b' '..=b'~' => char::from(byte),
                _ => '.',
            });
            writeln!(f, "  |{}|", text.collect::<String>())?;
            address += len as u64;
            if row == [0; ROW] {
                let behind = self.behind_zeros(address);
                if behind > address {
                    writeln!(f, "*")?;
                }
                address = behind;
            }
        }
        write!(f, "{:0width$x}", self.end)
    }
}
