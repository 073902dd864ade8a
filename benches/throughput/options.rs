//! The command line.

use crate::subjects::Case;

/// `[--json FILE] [--results FILE] [WORDS…]`.
#[derive(Default)]
pub(crate) struct Options {
    /// Where everything goes as JSON.
    pub(crate) json: Option<String>,
    /// Where the document for readers goes.
    pub(crate) results: Option<String>,
    words: Vec<String>,
}

impl Options {
    pub(crate) fn from_arguments() -> Self {
        let mut options = Self::default();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = arguments.next(),
                "--results" => options.results = arguments.next(),
                // Cargo tells every bench that it is one.
                "--bench" => {}
                words => options.words.push(words.to_lowercase()),
            }
        }
        options
    }

    /// Is this to be measured? Yes, where `subject, what` holds all of the words.
    pub(crate) fn wants(&self, subject: &str, what: &str) -> bool {
        let row = format!("{subject}, {what}").to_lowercase();
        self.words.iter().all(|words| row.contains(words))
    }

    /// The rows of a subject that are to be measured; their names end in `, N clients`.
    pub(crate) fn rows(&self, subject: &str, cases: &[(Case, &[usize])]) -> Vec<(Case, usize)> {
        let rows = cases.iter().flat_map(|(case, clients)| clients.iter().map(|clients| (*case, *clients)));
        rows.filter(|(case, clients)| self.wants(subject, &format!("{}, {clients} clients", case.name()))).collect()
    }
}
