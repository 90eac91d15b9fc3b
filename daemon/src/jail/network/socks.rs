//! Owns: asking a SOCKS5 proxy (RFC 1928, 1929) for a way to a host.
//! Guarantees: the name goes to the proxy as it is, nothing is looked up here; what is wrong is a sentence without the
//! password.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::domain::network::Target;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_FITS: u8 = 0xff;
const CONNECT: u8 = 1;
const NAME: u8 = 3;

/// Has the proxy at the other end of a stream open a way to a host.
///
/// # Errors
/// Why it did not, as the end of a sentence.
pub(super) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<(&str, &str)>,
    target: &Target,
) -> Result<(), String> {
    match asked(stream, login, target).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}

async fn asked(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<(&str, &str)>,
    target: &Target,
) -> io::Result<Result<(), String>> {
    let methods: &[u8] = match login {
        Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(methods).await?;
    stream.flush().await?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Ok(Err("it is no SOCKS5 proxy".to_owned()));
    }
    match (method, login) {
        (NO_LOGIN, _) => {}
        (PASSWORD, Some((name, password))) => {
            let (Some(name), Some(password)) = (counted(name), counted(password)) else {
                return Ok(Err(
                    "its name or password is longer than SOCKS5 can say".to_owned()
                ));
            };
            stream.write_all(&[&[1], &*name, &*password].concat()).await?;
            stream.flush().await?;
            let [_, verdict] = read(stream).await?;
            if verdict != 0 {
                return Ok(Err("it does not know the name or the password".to_owned()));
            }
        }
        (NONE_FITS, None) => {
            return Ok(Err(
                "it wants a name and a password: [network] proxy = \"socks5h://NAME:PASSWORD@HOST:PORT\""
                    .to_owned(),
            ));
        }
        _ => return Ok(Err("it wants a kind of login that is not known here".to_owned())),
    }
    let Some(host) = counted(target.host()) else {
        return Ok(Err("the host's name is too long for it".to_owned()));
    };
    let head = [&[VERSION, CONNECT, 0, NAME], &*host, &target.port().to_be_bytes()].concat();
    stream.write_all(&head).await?;
    stream.flush().await?;
    let [_, verdict, _, kind] = read(stream).await?;
    if verdict != 0 {
        return Ok(Err(refusal(verdict).to_owned()));
    }
    // Where it connected from, which says nothing here; what follows is the host's.
    let long = match kind {
        1 => 4,
        4 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Ok(Err("its answer can't be read".to_owned())),
    };
    let mut address = vec![0; long + 2];
    stream.read_exact(&mut address).await?;
    Ok(Ok(()))
}

async fn read<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A text after its length; `None` where that does not fit.
fn counted(text: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(text.len()).ok()?;
    Some(std::iter::once(length).chain(text.bytes()).collect())
}

fn refusal(verdict: u8) -> &'static str {
    match verdict {
        2 => "its rules do not allow it",
        3 => "it can't reach that network",
        4 => "it can't reach or find that host",
        5 => "the host refused the connection",
        6 => "it took too long",
        7 | 8 => "it does not do that",
        _ => "it failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a proxy that answers so hears, and what comes of it.
    async fn ask(login: Option<(&str, &str)>, answers: &[&[u8]]) -> (Vec<u8>, Result<(), String>) {
        let (mut ours, mut its) = tokio::io::duplex(4096);
        its.write_all(&answers.concat()).await.unwrap();
        let target = Target::parse("crates.io:443", None).unwrap();
        let came = open(&mut ours, login, &target).await;
        drop(ours);
        let mut heard = Vec::new();
        its.read_to_end(&mut heard).await.unwrap();
        (heard, came)
    }

    #[tokio::test]
    async fn a_way_is_asked_for_by_name_with_and_without_a_login() {
        const WAY: &[u8] = b"\x05\x01\x00\x03\x09crates.io\x01\xbb";
        let (heard, came) = ask(None, &[&[5, 0], &[5, 0, 0, 1, 9, 9, 9, 9, 0, 1]]).await;
        assert_eq!((heard, came), ([b"\x05\x01\x00", WAY].concat(), Ok(())));
        let (heard, came) = ask(
            Some(("me", "pw")),
            &[&[5, 2], &[1, 0], b"\x05\0\0\x03\x01x\0\x01"],
        )
        .await;
        assert_eq!(
            (heard, came),
            ([b"\x05\x02\x00\x02\x01\x02me\x02pw", WAY].concat(), Ok(()))
        );
    }

    #[tokio::test]
    async fn a_no_is_a_sentence() {
        for (answers, says) in [
            (&[&[5, 0xff][..]][..], "wants a name and a password"),
            (
                &[&[5, 0], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]],
                "its rules do not allow it",
            ),
            (&[&[5, 0], &[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]], "can't reach or find"),
            (&[&[5, 0], &[5, 0, 0, 9]], "can't be read"),
            (&[b"HTTP/1.1 400"], "no SOCKS5 proxy"),
        ] {
            let why = ask(None, answers).await.1.unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        let why = ask(Some(("me", "canary")), &[&[5, 2], &[1, 1]])
            .await
            .1
            .unwrap_err();
        assert!(why.contains("does not know") && !why.contains("canary"), "{why}");
        assert!(
            ask(Some(("me", &"x".repeat(256))), &[&[5, 2]])
                .await
                .1
                .unwrap_err()
                .contains("longer")
        );
    }
}
