//! Makes inputs for the fuzz targets `demux` and `decoders` of the media files in `seeds/media`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use microserve_transcoder::fuzzing;

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: fuzz_seeds SEEDS")?);
    for file in fs::read_dir(seeds.join("media"))? {
        let file = file?;
        let Some((demuxed, decoded)) = fuzzing::seeds(&fs::read(file.path())?) else { continue };
        fs::write(seeds.join("demux").join(file.file_name()), demuxed)?;
        if let Some(decoded) = decoded {
            fs::write(seeds.join("decoders").join(file.file_name()), decoded)?;
        }
    }
    Ok(())
}
