//! What is asked, and how each gateway wants to hear it.
//!
//! Owns: the texts of prompts and the bytes of whole requests. Knows no gateway by name.

use std::net::SocketAddr;

use serde_json::json;

use crate::load::NUMBER;

/// Where a gateway takes requests for a route, and what they must say.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) to: SocketAddr,
    pub(crate) path: String,
    pub(crate) model: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Target {
    /// The bytes of a request for a chat completion.
    pub(crate) fn request(&self, prompt: &str, stream: bool) -> Vec<u8> {
        let mut body = json!({ "model": self.model });
        if stream {
            body["stream"] = true.into();
        }
        body["max_tokens"] = 512.into();
        body["messages"] = json!([
            { "role": "system", "content": "You are a helpful assistant." },
            { "role": "user", "content": format!("{NUMBER} {prompt}") },
        ]);
        let body = body.to_string();
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            self.path,
            self.to,
            body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", body.as_bytes()].concat()
    }
}

/// Numbers that look drawn and are the same in every run.
fn drawn() -> impl Iterator<Item = usize> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize
    })
}

/// Words as people write them, about so many bytes.
pub(crate) fn prose(bytes: usize) -> String {
    const WORDS: &str = "the a of and to in it that was for on with as at by from this which \
        water gate river dam level night report measure council engineer slowly before after \
        opened closed rising falling because although between morning pressure reservoir and \
        should could nobody everybody Tuesday figures table says question answer, again. but";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut text = String::with_capacity(bytes + 16);
    for number in drawn() {
        if text.len() >= bytes {
            break;
        }
        text.push_str(words[number % words.len()]);
        text.push(' ');
    }
    text
}

/// One run of letters without a space: no vocabulary has it, and what splits texts into
/// words before counting them finds a single one.
pub(crate) fn hostile(bytes: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let letters = drawn().map(|number| char::from(LETTERS[number % LETTERS.len()]));
    letters.take(bytes).collect()
}
