//! Argon2id (RFC 9106) in memory that is used again. Allocating 19 MiB for each password takes half a hash's time more, or
//! next to nothing, as the thread has it that the password falls to: noise in a time that must tell nothing. And what
//! allocators keep for each thread comes to hundreds of MiB.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::zeroize::Zeroize;

use super::PasswordError;
use crate::account::PasswordHash;

// OWASP's first recommendation for Argon2id: 19 MiB, two passes, one lane.
pub(super) const MEMORY_KIB: u32 = 19_456;
pub(super) const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
/// So many hashes' memory stays allocated; what more run at the same time need is given back.
const KEPT: usize = 4;

/// What a password is checked against.
pub(super) struct Check {
    argon2: Argon2<'static>,
    salt: Salt,
    hash: Output,
    /// Whether it was made with less than today's parameters.
    pub(super) weak: bool,
}

impl Check {
    /// Against a stored hash; nothing if it is none of Argon2.
    pub(super) fn stored(hash: &PasswordHash) -> Option<Self> {
        let phc = Phc::new(hash.as_str()).ok()?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
        let version = phc.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let weak = algorithm != Algorithm::Argon2id || params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES;
        Some(Self { argon2: Argon2::new(algorithm, version, params), salt: phc.salt?, hash: phc.hash?, weak })
    }

    /// Against a hash that is nobody's, as costly as one that is made today. Another one each time, as accounts have.
    pub(super) fn nobodys() -> Result<Self, PasswordError> {
        let hash = Output::new(&random::<HASH_BYTES>()?).map_err(internal)?;
        Ok(Self { argon2: today()?, salt: Salt::new(&random::<16>()?).map_err(internal)?, hash, weak: false })
    }
}

/// The memory of hashes, used again and wiped in between: from what is left in it, passwords could be guessed cheaply.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<Box<[Block]>>>>);

impl Memory {
    /// A new hash of a password.
    pub(super) fn hash(&self, password: &[u8]) -> Result<PasswordHash, PasswordError> {
        let (argon2, salt) = (today()?, Salt::new(&random::<16>()?).map_err(internal)?);
        let hash = self.compute(&argon2, password, &salt, HASH_BYTES)?;
        let params = ParamsString::try_from(argon2.params()).map_err(internal)?;
        let algorithm = Algorithm::Argon2id.ident();
        let version = Some(Version::V0x13.into());
        let phc = Phc { algorithm, version, params, salt: Some(salt), hash: Some(hash) };
        Ok(PasswordHash::from_stored(phc.to_string()))
    }

    /// Whether it is the password.
    pub(super) fn matches(&self, check: &Check, password: &[u8]) -> Result<bool, PasswordError> {
        // `Output` compares in constant time.
        Ok(self.compute(&check.argon2, password, &check.salt, check.hash.len())? == check.hash)
    }

    fn compute(
        &self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &Salt,
        length: usize,
    ) -> Result<Output, PasswordError> {
        let mut blocks = self.kept().pop().unwrap_or_default();
        let needed = argon2.params().block_count();
        if blocks.len() < needed {
            let mut larger = Vec::new();
            larger.try_reserve_exact(needed).map_err(internal)?;
            larger.resize(needed, Block::new());
            blocks = larger.into_boxed_slice();
        }
        let mut hash = [0; Output::MAX_LENGTH];
        let hash = hash.get_mut(..length).ok_or_else(|| internal("a hash is too long"))?;
        let done = argon2.hash_password_into_with_memory(password, salt, hash, &mut blocks);
        // Of a `Vec`, this would also take the blocks away.
        blocks.zeroize();
        let mut kept = self.kept();
        // What an adopted hash needed may be more than all of these together.
        if kept.len() < KEPT && blocks.len() <= MEMORY_KIB as usize {
            kept.push(blocks);
        }
        done.map_err(internal)?;
        Output::new(hash).map_err(internal)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Box<[Block]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn today() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], PasswordError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(internal)?;
    Ok(bytes)
}

fn internal(err: impl std::fmt::Display) -> PasswordError {
    PasswordError::Internal(err.to_string().into())
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};

    use super::*;

    fn stored(argon2: &Argon2<'_>, password: &[u8]) -> PasswordHash {
        let phc: Phc = argon2.hash_password_with_salt(password, &[7; 16]).unwrap();
        PasswordHash::from_stored(phc.to_string())
    }

    /// As the crate's own verification finds, whatever the same memory was used for before.
    #[test]
    fn memory_that_is_used_again_changes_no_hash() {
        let memory = Memory::default();
        let kinds = [
            (Algorithm::Argon2id, MEMORY_KIB, PASSES, LANES),
            (Algorithm::Argon2d, 64, 1, 2),
            (Algorithm::Argon2i, 40_000, 1, 4),
            (Algorithm::Argon2id, 8, 1, 1),
        ];
        for (n, (algorithm, kib, passes, lanes)) in kinds.into_iter().cycle().take(12).enumerate() {
            let (right, wrong) = (format!("right {n}"), format!("wrong {n}"));
            let params = Params::new(kib, passes, lanes, Some(16 + n)).unwrap();
            let version = if n % 3 == 0 { Version::V0x10 } else { Version::V0x13 };
            let check = Check::stored(&stored(&Argon2::new(algorithm, version, params), right.as_bytes())).unwrap();
            assert!(memory.matches(&check, right.as_bytes()).unwrap());
            assert!(!memory.matches(&check, wrong.as_bytes()).unwrap());
            let made = memory.hash(right.as_bytes()).unwrap();
            let phc = Phc::new(made.as_str()).unwrap();
            assert!(today().unwrap().verify_password(right.as_bytes(), &phc).is_ok());
            assert!(today().unwrap().verify_password(wrong.as_bytes(), &phc).is_err());
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_wiped() {
        let memory = Memory::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * KEPT {
                scope.spawn(|| memory.hash(b"correct horse").unwrap());
            }
        });
        let large = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(2 * MEMORY_KIB, 1, 1, None).unwrap());
        let check = Check::stored(&stored(&large, b"correct horse")).unwrap();
        assert!(memory.matches(&check, b"correct horse").unwrap());
        let kept = memory.kept();
        assert!((1..=KEPT).contains(&kept.len()));
        for blocks in &*kept {
            assert_eq!(blocks.len(), MEMORY_KIB as usize);
            assert!(blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        }
    }

    #[test]
    fn what_is_no_argon2_hash_is_none() {
        for text in [
            "",
            "Admin123",
            "$argon2id$v=19$m=19456,t=2,p=1$",
            "$2b$12$R9h/cIPz0gi",
            "$pbkdf2-sha256$i=1$AAAAAAAAAAA$AAAA",
            // A salt of four bytes: RFC 9106 has eight at least (section 3.1).
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(Check::stored(&PasswordHash::from_stored(text)).is_none(), "{text}");
        }
    }
}
