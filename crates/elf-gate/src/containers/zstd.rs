//! Zstandard with several frames: tools write layers as many frames, with skippable frames between them.

use std::io::{self, Read};

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// `zstd -19` needs an eighth of it, `--ultra -22` twice as much, `--long=31` 2 GiB. Each level of nested compression may
/// need it once.
const WINDOW_BYTES_MAX: u64 = 64 << 20;

/// Decompresses all frames of `source`.
pub(super) struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: Read> ZstdReader<R> {
    pub(super) fn new(source: R) -> ZstdReader<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        ZstdReader { source, decoder, is_in_frame: false }
    }

    /// False at the end of the stream.
    fn begin_frame(&mut self) -> io::Result<bool> {
        let mut first = [0];
        if self.source.read(&mut first)? == 0 {
            return Ok(false);
        }
        match self.decoder.init((&first[..]).chain(&mut self.source)) {
            Ok(()) => self.is_in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let skipped = io::copy(&mut Read::take(&mut self.source, length.into()), &mut io::sink())?;
                if skipped < length.into() {
                    return Err(damaged("a skippable frame is cut off"));
                }
            }
            Err(error) => return Err(frame_error(error)),
        }
        Ok(true)
    }

    /// The decoder reads the checksum and leaves the comparison to the caller.
    fn end_frame(&mut self) -> io::Result<()> {
        self.is_in_frame = false;
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(found)) if stored != found => {
                Err(damaged("the checksum of a frame is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                if !self.begin_frame()? {
                    return Ok(0);
                }
                continue;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.decoder.is_finished() {
                self.end_frame()?;
            } else {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| damaged(&error.to_string()))?;
            }
        }
    }
}

fn frame_error(error: FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::WindowSizeTooBig { .. }
        | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }) => {
            io::Error::new(io::ErrorKind::OutOfMemory, format!("zstd: {error}"))
        }
        error => damaged(&error.to_string()),
    }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {why}"))
}
