//! Finds out where the values of a JSON text stand, by the grammar of RFC 8259 and no laxer.

/// A value or a member's name, where it stands, and where what follows it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    start: u32,
    end: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Object,
    Array,
    /// A number, `true`, `false` or `null`.
    Literal,
    /// A string that means what it says.
    Plain,
    /// A string with escapes.
    Escaped,
}

impl Token {
    /// The number of the token after it and all that is inside of it.
    pub(super) const fn next(self) -> usize {
        self.next as usize
    }

    /// What it is in the text; of a string, with its quotes.
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// One pass over a text that is shorter than four gibibytes.
pub(super) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    max_depth: usize,
    tokens: Vec<Token>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str, max_depth: usize) -> Self {
        // A token for each sixteen bytes is more than most prompts have.
        let tokens = Vec::with_capacity(text.len() / 16 + 8);
        Self { text: text.as_bytes(), at: 0, depth: 0, max_depth, tokens }
    }

    /// The tokens of one value with nothing but white space around it.
    pub(super) fn document(mut self) -> Option<Vec<Token>> {
        self.space();
        self.value()?;
        self.space();
        (self.at == self.text.len()).then_some(self.tokens)
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' => self.nested(TokenKind::Object, b'}'),
            b'[' => self.nested(TokenKind::Array, b']'),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn nested(&mut self, kind: TokenKind, close: u8) -> Option<()> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return None;
        }
        let token = self.tokens.len();
        self.push(kind, self.at)?;
        self.at += 1;
        self.space();
        if !self.eat(close) {
            self.items(kind, close)?;
        }
        self.depth -= 1;
        let next = u32::try_from(self.tokens.len()).ok()?;
        self.tokens[token].next = next;
        Some(())
    }

    fn items(&mut self, kind: TokenKind, close: u8) -> Option<()> {
        loop {
            if kind == TokenKind::Object {
                self.string()?;
                self.space();
                self.eat(b':').then_some(())?;
                self.space();
            }
            self.value()?;
            self.space();
            if self.eat(close) {
                return Some(());
            }
            self.eat(b',').then_some(())?;
            self.space();
        }
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        self.eat(b'"').then_some(())?;
        let mut kind = TokenKind::Plain;
        loop {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            self.at += self.text.get(self.at..)?.iter().position(special)?;
            match self.text[self.at] {
                b'"' => break,
                b'\\' => {
                    kind = TokenKind::Escaped;
                    // Whatever it escapes, be it a quote; it is read when the string is.
                    self.at += 2;
                }
                _ => return None,
            }
        }
        self.at += 1;
        self.push(kind, start)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        self.push(TokenKind::Literal, start)
    }

    fn digits(&mut self) -> Option<()> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    fn word(&mut self) -> Option<()> {
        let (start, rest) = (self.at, &self.text[self.at..]);
        let words: [&[u8]; 3] = [b"true", b"false", b"null"];
        self.at += words.iter().find(|word| rest.starts_with(word))?.len();
        self.push(TokenKind::Literal, start)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn push(&mut self, kind: TokenKind, start: usize) -> Option<()> {
        let next = u32::try_from(self.tokens.len() + 1).ok()?;
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(self.at).ok()?);
        self.tokens.push(Token { kind, start, end, next });
        Some(())
    }
}

/// Appends what a string means. `None` if an escape is none that JSON has, or half of a character.
pub(super) fn unescape(inside: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        // What is escaped is ASCII, or the escape is refused below.
        let tail = rest.get(at + 2..)?;
        let (character, tail) = match escape {
            b'"' | b'\\' | b'/' => (char::from(escape), tail),
            b'b' => ('\u{8}', tail),
            b'f' => ('\u{c}', tail),
            b'n' => ('\n', tail),
            b'r' => ('\r', tail),
            b't' => ('\t', tail),
            b'u' => unicode(tail)?,
            _ => return None,
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = tail;
    }
    out.extend_from_slice(rest.as_bytes());
    Some(())
}

/// The character of `\u` and what stands after it, of which it may need a second `\u`.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(text)?;
    let character = match first {
        0xd800..=0xdbff => {
            let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
            let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            let character = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + low)?;
            return Some((character, rest));
        }
        _ => char::from_u32(first)?,
    };
    Some((character, rest))
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4).filter(|four| four.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}
