//! A chat client that prints the answer as it is written.
//!
//! `buttress::Client` with `llm()`: a `POST` that the API was too busy for goes again, when the API
//! says so, and so does one whose stream ended before its first word.
//!
//! Run: `cargo run -p examples --bin chat` (or `... --bin chat -- "your question" "another one"`)
//!
//! You see answers come in word by word, from a stand-in that is busy for one of three requests.
//! With `OPENAI_BASE_URL` set (as in `http://localhost:11434/v1`) they come from there, for
//! `OPENAI_API_KEY` and `OPENAI_MODEL` if these are set.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    env,
    io::{self, Write},
    time::Duration,
};

use buttress::{Attempts, Body, BoxError, Client};
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stand_in::{BusyServer, chat};

/// The longest line of an event stream that is read.
const LONGEST_LINE: usize = 1024 * 1024;

struct Api {
    client: Client,
    base: String,
    key: Option<String>,
    model: String,
}

impl Api {
    /// Prints the answer as it comes, and returns it.
    async fn ask(&self, messages: &[Value]) -> Result<String, BoxError> {
        let body = json!({ "model": self.model, "messages": messages, "stream": true });
        let mut request =
            Request::post(format!("{}/chat/completions", self.base.trim_end_matches('/')))
                .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let response = self.client.send(request.body(body.to_string())?).await?;

        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().text(LONGEST_LINE).await?;
            return Err(format!("the API answered {status}: {text}").into());
        }
        if let Some(attempts) = response.extensions().get::<Attempts>() {
            println!("  (it took {} attempts)", attempts.made());
        }

        let mut answer = String::new();
        let mut events = Events { body: response.into_body(), unread: Vec::new() };
        while let Some(data) = events.next().await? {
            if data == "[DONE]" {
                println!();
                return Ok(answer);
            }
            let event: Value = serde_json::from_str(&data)?;
            if let Some(token) = event["choices"][0]["delta"]["content"].as_str() {
                print!("{token}");
                io::stdout().flush()?;
                answer.push_str(token);
            }
        }
        Err("the answer ended without [DONE]".into())
    }
}

/// The `data:` lines of an event stream.
struct Events {
    body: Body,
    unread: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Result<Option<String>, BoxError> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8(self.unread.drain(..=end).collect())?;
                match line.strip_prefix("data:") {
                    Some(data) => return Ok(Some(data.trim().to_owned())),
                    // A comment, the name of an event, or the blank line after one.
                    None => continue,
                }
            }
            if self.unread.len() > LONGEST_LINE {
                return Err("the answer has a line without end".into());
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => self.unread.extend(frame.into_data().unwrap_or_default()),
                None => return Ok(None),
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let stand_in = BusyServer::start(3, chat::router()).await?;
    let api = Api {
        client: Client::builder()
            .llm()
            .first_byte_timeout(Duration::from_secs(120))
            .idle_read_timeout(Duration::from_secs(60))
            .build()?,
        base: env::var("OPENAI_BASE_URL").unwrap_or_else(|_| stand_in.url("/v1")),
        key: env::var("OPENAI_API_KEY").ok(),
        model: env::var("OPENAI_MODEL").unwrap_or_else(|_| "gpt-4o-mini".to_owned()),
    };

    let mut questions: Vec<String> = env::args().skip(1).collect();
    if questions.is_empty() {
        questions = ["Why does a tall wall stand?", "And in a storm?", "Always?"]
            .map(str::to_owned)
            .to_vec();
    }
    let mut messages = Vec::new();
    for question in questions {
        println!("> {question}");
        messages.push(json!({ "role": "user", "content": question }));
        let answer = api.ask(&messages).await?;
        messages.push(json!({ "role": "assistant", "content": answer }));
    }
    println!("{} answers", messages.len() / 2);
    Ok(())
}
