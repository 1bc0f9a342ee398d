//! A question with everything that answering it needs; nothing else is looked at.

use std::borrow::Cow;
use std::sync::Arc;

use domain::policy::{ApiKey, ApiKeyKind, Identity, Key, Stamp, Status};
use domain::{Policy, Registry, Slug, Timestamp, Workspace};
use serde_json::Value;

use crate::options::Options;
use crate::refusal::Refusal;

/// Largest page of a list, and the usual one.
const PAGE: (usize, usize) = (1000, 100);

/// Other spellings of query parameters that Portkey's clients use, and the usual ones.
const SPELLINGS: &[(&str, &str)] =
    &[("pageSize", "page_size"), ("currentPage", "current_page"), ("workspace_slug", "workspace_id")];

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: Identity,
    /// None: a local administrator, or access control is off.
    pub(crate) key: Option<Arc<ApiKey>>,
}

impl Caller {
    /// Believes an identity as far as the stored keys do.
    pub(crate) fn new(identity: Identity, policy: &Policy, now: Timestamp) -> Result<Self, Refusal> {
        let key = match &identity.key {
            None => None,
            Some(id) => {
                let gone = || Refusal::unauthenticated("the API key is gone; ask for another");
                let key = policy.api_key(id).ok_or_else(gone)?;
                key.usable(policy, now).map_err(|why| Refusal::unauthenticated(why.error().message))?;
                Some(key)
            }
        };
        Ok(Self { identity, key })
    }

    /// The name that changes are recorded under.
    pub(crate) fn actor(&self) -> String {
        self.key.as_ref().map_or_else(|| "local".to_owned(), |key| key.id.to_string())
    }

    pub(crate) fn allows(&self, scope: &str) -> bool {
        self.key.as_ref().is_none_or(|key| key.allows(scope))
    }

    pub(crate) fn must_have(&self, scope: &str) -> Result<(), Refusal> {
        if self.allows(scope) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!("the API key's scopes do not allow this: it takes `{scope}`")))
    }

    /// Whether all workspaces are open to the caller.
    pub(crate) fn is_administrator(&self) -> bool {
        self.key.as_ref().is_none_or(|key| key.kind == ApiKeyKind::OrganisationService)
    }

    /// The workspace of a question that names one or not.
    pub(crate) fn workspace(&self, policy: &Policy, asked: Option<&str>) -> Result<Workspace, Refusal> {
        let own = &self.identity.workspace;
        let Some(asked) = asked.filter(|asked| *asked != own.as_str()) else { return Ok(own.clone()) };
        let unknown =
            || Refusal { param: Some("workspace_id".to_owned()), ..Refusal::not_found("workspace", asked) };
        let workspace = Workspace::parse(asked).map_err(|_| unknown())?;
        let there = workspace == Workspace::default() || policy.workspace(&workspace).is_some();
        // A key of another workspace is not told which others there are.
        if there && self.is_administrator() { Ok(workspace) } else { Err(unknown()) }
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) size: usize,
    pub(crate) number: usize,
}

impl Page {
    pub(crate) fn start(self) -> usize {
        self.size.saturating_mul(self.number)
    }

    /// The entries of a list that are on the page.
    pub(crate) fn of<T>(self, all: &[T]) -> &[T] {
        let start = self.start().min(all.len());
        &all[start..start.saturating_add(self.size).min(all.len())]
    }
}

/// What follows a path's `?`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let owned = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
            let same = SPELLINGS.iter().find(|(other, _)| *other == name);
            (same.map_or_else(|| name.into_owned(), |(_, usual)| (*usual).to_owned()), value.into_owned())
        };
        Self(url::form_urlencoded::parse(text.as_bytes()).map(owned).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All names with their values, as often as they come.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses names that nobody reads. One that ends in `.*` stands for all that begin so.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let fits = |name: &str, known: &str| match known.strip_suffix('*') {
            Some(begin) => name.len() > begin.len() && name.starts_with(begin),
            None => name == known,
        };
        match self.0.iter().find(|(name, _)| !known.iter().any(|known| fits(name, known))) {
            None => Ok(()),
            Some((name, _)) => {
                let hint = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Refusal::invalid(
                    name,
                    format!("query parameter `{name}` is unknown here; understood: {hint}"),
                ))
            }
        }
    }

    pub(crate) fn page(&self) -> Result<Page, Refusal> {
        let number = |name: &str, usual: usize, fix: &str| match self.get(name) {
            None => Ok(usual),
            Some(text) => text.parse::<usize>().map_err(|_| {
                Refusal::invalid(name, format!("query parameter `{name}`: `{text}` is not {fix}"))
            }),
        };
        let size = number("page_size", PAGE.1, "a number from 1 to 1000")?;
        if !(1..=PAGE.0).contains(&size) {
            return Err(Refusal::invalid("page_size", "query parameter `page_size`: write 1 to 1000"));
        }
        Ok(Page { size, number: number("current_page", 0, "a page number, counted from 0")? })
    }

    /// Entities of which status are wanted: active ones unless said otherwise.
    pub(crate) fn status(&self) -> Result<Status, Refusal> {
        parse_status("status", self.get("status").unwrap_or("active"))
    }
}

/// A status as it may be asked for.
pub(crate) fn parse_status(param: &str, text: &str) -> Result<Status, Refusal> {
    match text {
        "active" => Ok(Status::Active),
        "archived" => Ok(Status::Archived),
        other => Err(Refusal::invalid(
            param,
            format!("`{param}`: `{other}` is no status; write `active` or `archived`"),
        )),
    }
}

/// A question with everything that answering it needs.
pub(crate) struct Call<'a> {
    /// The path's variable parts.
    pub(crate) params: Vec<&'a str>,
    pub(crate) query: Query,
    pub(crate) body: &'a Value,
    pub(crate) if_match: Option<u64>,
    pub(crate) caller: &'a Caller,
    pub(crate) workspace: Workspace,
    /// The question names a workspace itself.
    pub(crate) names_workspace: bool,
    pub(crate) policy: &'a Policy,
    pub(crate) registry: &'a Registry,
    pub(crate) options: &'a Options,
    pub(crate) now: Timestamp,
    /// From the operating system's source, fresh for every question.
    pub(crate) entropy: [u8; 48],
}

impl Call<'_> {
    /// Who does this, and when.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { at: self.now, by: self.caller.actor() }
    }

    /// The path's variable part as a name; what cannot be one is not there.
    pub(crate) fn slug(&self, what: &str) -> Result<Slug, Refusal> {
        let text = self.params.first().copied().unwrap_or_default();
        Slug::parse(text).map_err(|_| Refusal::not_found(what, text))
    }

    /// Refuses a body that names another entity than the path does. Portkey's clients name it in both.
    pub(crate) fn must_be_in_path(&self, field: &str, at: usize, given: Option<&str>) -> Result<(), Refusal> {
        let there = self.params.get(at).copied().unwrap_or_default();
        match given.filter(|given| *given != there) {
            None => Ok(()),
            Some(given) => {
                let message =
                    format!("`{field}`: the body says `{given}`, but the path `{there}`; leave it out");
                Err(Refusal::invalid(field, message))
            }
        }
    }

    /// The revision that a change builds upon; `If-Match` has to name it, if it is there.
    pub(crate) fn revision(&self, key: &Key) -> Result<Option<u64>, Refusal> {
        let found = self.policy.sequence(key);
        match self.if_match {
            Some(wanted) if found != Some(wanted) => Err(Refusal::stale(wanted, found.unwrap_or(0))),
            _ => Ok(found),
        }
    }

    /// Six letters and digits for names that have to differ.
    pub(crate) fn suffix(&self) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        self.entropy[32..38].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    /// A name made of a title, as in `my-config-x7k2m9`.
    pub(crate) fn slug_of(&self, name: &str, with_suffix: bool) -> String {
        let mut slug = String::new();
        for c in name.chars().take(40) {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.ends_with('-') && !slug.is_empty() {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        match (slug, with_suffix) {
            ("", _) => self.suffix(),
            (slug, true) => format!("{slug}-{}", self.suffix()),
            (slug, false) => slug.to_owned(),
        }
    }

    /// Refuses to create in a workspace that was archived.
    pub(crate) fn must_be_open(&self) -> Result<(), Refusal> {
        let archived = self.policy.workspace(&self.workspace).is_some_and(|w| w.status == Status::Archived);
        if !archived {
            return Ok(());
        }
        let message =
            format!("workspace `{}` was archived; make it active again, or use another", self.workspace);
        Err(Refusal::conflict("workspace_id", message))
    }
}

/// A slug that the body brings.
pub(crate) fn given_slug(text: &str) -> Result<Slug, Refusal> {
    Slug::parse(text).map_err(|err| Refusal::invalid("slug", format!("`slug`: {err}")))
}
