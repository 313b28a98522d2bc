//! Topics of a broker as resources `/ps/{topic…}`: what may be done with which, and what that means.
//!
//! The segments of a path are the levels of a topic, one to one. The words are those of
//! draft-ietf-core-coap-pubsub-20: a topic's data is its resource (`core.ps.data`), which is there
//! from its first message on. Topics are made by publishing to them; there are no resources to
//! configure them.

use std::sync::Arc;

use proto::coap::content_format::{media_type, of_media_type};
use proto::coap::link_format::Link;
use proto::coap::{Code, Method, OptionNumber, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::files::target;
use super::resources::busy;
use crate::broker::{Board, TopicMessage, TopicState, Watch};
use crate::config::PubSub;
use crate::pipeline::{MAX_TOPIC, TopicFilter, is_mqtt_text};
use crate::store::Message;

/// The longest topic that can be watched, in bytes.
const MAX_WATCHED: usize = 1024;
/// Most requests that wait until something is known of their topic.
const MAX_WAITING: usize = 4096;
/// Most topics among the links.
const MAX_LISTED: usize = 256;
/// What a PUBLISH needs besides topic and payload: headers, and the properties of MQTT 5.
const PUBLISH_OVERHEAD: usize = 192;
/// Seconds until a node should try again while the broker is away, or has no room.
const RETRY_SECONDS: u32 = 10;

/// What clients of one source may do with the topics of one broker.
pub(super) struct Bridge {
    broker: Arc<str>,
    publish: Vec<TopicFilter>,
    subscribe: Vec<TopicFilter>,
    /// Content-Format of messages that do not say what they are.
    content_format: Option<u16>,
    /// Largest packet that the broker takes.
    max_packet: usize,
    board: Option<Board>,
    waiting: Arc<Semaphore>,
}

/// What a client wants to see of a topic.
#[derive(Clone)]
pub(super) struct TopicView {
    watch: Watch,
    format: Format,
}

/// Which representation it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Any,
    Only(Option<u16>),
}

/// What a request for a topic comes to.
pub(super) enum Wanted {
    /// It is known what to answer.
    Known(TopicView),
    /// It will be, as soon as the topic [is settled](TopicView::settled).
    Unknown(TopicView, OwnedSemaphorePermit),
}

impl Bridge {
    pub(super) fn new(config: &PubSub, max_packet: u64, board: Option<Board>) -> Self {
        Self {
            broker: config.broker.as_str().into(),
            publish: config.publish.clone(),
            subscribe: config.subscribe.clone(),
            content_format: config.content_format,
            max_packet: usize::try_from(max_packet).unwrap_or(usize::MAX),
            board,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The topics to watch, where there are any.
    pub(super) const fn board(&self) -> Option<&Board> {
        self.board.as_ref()
    }

    /// Refuses every condition: nothing here can be told to be the state that the client means
    /// (RFC 7252 §5.10.8).
    pub(super) fn check_conditions(request: &Request) -> Result<(), Response> {
        let conditions = [OptionNumber::IF_MATCH, OptionNumber::IF_NONE_MATCH];
        match conditions.into_iter().any(|option| request.options.first(option).is_some()) {
            true => Err(Response::new(Code::PRECONDITION_FAILED)),
            false => Ok(()),
        }
    }

    /// The message that a PUT or a POST asks to publish: PUT sets the state of the topic, so the
    /// broker keeps it; POST adds to it.
    pub(super) fn message(&self, topic: &str, request: &Request) -> Result<Message, Response> {
        check_topic(topic, MAX_TOPIC)?;
        if !self.publish.iter().any(|filter| filter.matches(topic)) {
            return Err(forbidden("publish to"));
        }
        let room = self.max_packet.saturating_sub(PUBLISH_OVERHEAD + topic.len());
        if request.payload.len() > room {
            let response = Response::new(Code::REQUEST_ENTITY_TOO_LARGE);
            return Err(response.size1(u32::try_from(room).unwrap_or(u32::MAX)));
        }
        Ok(Message {
            broker: Arc::clone(&self.broker),
            topic: topic.to_owned(),
            payload: request.payload.clone().into(),
            retain: request.method == Method::Put,
            content_type: request.options.content_format().and_then(media_type).map(str::to_owned),
            correlation: None,
        })
    }

    /// What a GET wants to see.
    pub(super) fn want(&self, topic: &str, request: &Request) -> Result<Wanted, Response> {
        check_topic(topic, MAX_WATCHED)?;
        let board = self.board.as_ref();
        let board = board.filter(|_| self.may_see(topic)).ok_or_else(|| forbidden("read"))?;
        let watch = board.watch(topic).map_err(|full| {
            let response = Response::new(Code::SERVICE_UNAVAILABLE).max_age(RETRY_SECONDS);
            response.diagnostic(&full.to_string())
        })?;
        let format = match request.accepts() {
            Some(format) => Format::Only(Some(format)),
            None => Format::Any,
        };
        let view = TopicView { watch, format };
        if matches!(view.watch.state(), TopicState::Waiting(_)) {
            let permit = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
            return Ok(Wanted::Unknown(view, permit));
        }
        Ok(Wanted::Known(view))
    }

    /// The answer to a request for a topic, as it is now.
    pub(super) fn show(&self, view: &TopicView) -> Response {
        self.answer(view.format, &view.watch.state())
    }

    fn answer(&self, wanted: Format, state: &TopicState) -> Response {
        match state {
            TopicState::Known(message) => self.content(wanted, message),
            TopicState::Nothing => {
                Response::new(Code::NOT_FOUND).diagnostic("nothing is published there yet")
            }
            TopicState::TooLarge => Response::new(Code::INTERNAL_SERVER_ERROR)
                .diagnostic("what is published there is larger than the gateway takes"),
            TopicState::Refused(refusal) => match refusal.is_forbidden {
                true => Response::new(Code::FORBIDDEN),
                false => Response::new(Code::SERVICE_UNAVAILABLE).max_age(RETRY_SECONDS),
            }
            .diagnostic(&format!("the broker does not subscribe: {}", refusal.detail)),
            TopicState::Unreachable | TopicState::Waiting(_) => {
                let response = Response::new(Code::SERVICE_UNAVAILABLE).max_age(RETRY_SECONDS);
                response.diagnostic("the broker cannot be asked now")
            }
        }
    }

    fn content(&self, wanted: Format, message: &TopicMessage) -> Response {
        let said = message.content_type.as_deref();
        let format = said.map_or(self.content_format, of_media_type);
        if matches!(wanted, Format::Only(only) if only != format) {
            return Response::new(Code::NOT_ACCEPTABLE);
        }
        let response = Response::new(Code::CONTENT).payload(message.payload.as_ref());
        format.into_iter().fold(response, Response::content_format)
    }

    fn may_see(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|filter| filter.matches(topic))
    }

    /// The links of topics that have a state now.
    pub(super) fn links(&self) -> Vec<Link> {
        let known = self.board.as_ref().map(|board| board.known(MAX_LISTED)).unwrap_or_default();
        let visible = known.iter().filter(|topic| self.may_see(topic));
        visible.filter_map(|topic| link(topic)).collect()
    }
}

impl TopicView {
    pub(super) fn topic(&self) -> &str {
        self.watch.topic()
    }

    /// Waits until it is known what to show.
    pub(super) async fn settled(self) -> Self {
        self.watch.settled().await;
        self
    }

    /// The same in the format that was shown first: notifications keep it (RFC 7641 §4.2).
    pub(super) fn fixed(mut self, shown: &Response) -> Self {
        self.format = Format::Only(shown.options.content_format());
        self
    }

    /// Whether it shows the same as another one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.topic() == other.topic() && self.format == other.format
    }
}

fn check_topic(topic: &str, longest: usize) -> Result<(), Response> {
    let bad = |why: &str| Err(Response::new(Code::BAD_REQUEST).diagnostic(why));
    match topic.len() {
        _ if !is_mqtt_text(topic) => bad("a character that MQTT does not carry"),
        0 => bad("a topic has at least one character"),
        length if length > longest => bad("the topic is too long"),
        _ => Ok(()),
    }
}

fn forbidden(what: &str) -> Response {
    Response::new(Code::FORBIDDEN).diagnostic(&format!("not allowed to {what} this topic"))
}

/// What is said of a topic.
fn link(topic: &str) -> Option<Link> {
    let link = Link::new(&target("/ps/", topic)).ok()?;
    link.with("rt", "core.ps.data").ok()?.with_flag("obs").ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proto::Instant;
    use proto::coap::content_format::{CBOR, JSON, TEXT_PLAIN};

    use super::*;
    use crate::broker::Refusal;

    fn bridge() -> Bridge {
        let filter = |text: &str| vec![text.parse().unwrap()];
        let config = PubSub {
            broker: "cloud".parse().unwrap(),
            publish: filter("site/+/set"),
            subscribe: filter("site/#"),
            content_format: Some(TEXT_PLAIN),
        };
        Bridge::new(&config, 1000, None)
    }

    fn known(content_type: Option<&str>) -> TopicState {
        let content_type = content_type.map(str::to_owned);
        TopicState::Known(Arc::new(TopicMessage {
            payload: Bytes::from_static(b"1"),
            content_type,
        }))
    }

    #[test]
    fn every_state_has_its_answer() {
        let refused = |is_forbidden| {
            TopicState::Refused(Arc::new(Refusal { is_forbidden, detail: "no".to_owned() }))
        };
        for (state, code, max_age) in [
            (known(None), Code::CONTENT, None),
            (TopicState::Nothing, Code::NOT_FOUND, None),
            (TopicState::TooLarge, Code::INTERNAL_SERVER_ERROR, None),
            (refused(true), Code::FORBIDDEN, None),
            (refused(false), Code::SERVICE_UNAVAILABLE, Some(RETRY_SECONDS)),
            (TopicState::Unreachable, Code::SERVICE_UNAVAILABLE, Some(RETRY_SECONDS)),
            (TopicState::Waiting(Instant::ZERO), Code::SERVICE_UNAVAILABLE, Some(RETRY_SECONDS)),
        ] {
            let answer = bridge().answer(Format::Any, &state);
            let told = answer.options.first_uint(OptionNumber::MAX_AGE);
            assert_eq!((answer.code, told), (code, max_age), "{state:?}");
        }
    }

    #[test]
    fn a_message_has_the_format_that_it_says_or_the_configured_one() {
        let answer = |wanted, content_type| {
            let answer = bridge().answer(wanted, &known(content_type));
            (answer.code, answer.options.content_format())
        };
        let json = Some("application/json");
        assert_eq!(answer(Format::Any, json), (Code::CONTENT, Some(JSON)));
        assert_eq!(answer(Format::Any, None), (Code::CONTENT, Some(TEXT_PLAIN)));
        assert_eq!(answer(Format::Any, Some("a/b")), (Code::CONTENT, None));
        assert_eq!(answer(Format::Only(Some(JSON)), json), (Code::CONTENT, Some(JSON)));
        assert_eq!(answer(Format::Only(Some(CBOR)), json), (Code::NOT_ACCEPTABLE, None));
        assert_eq!(answer(Format::Only(None), json), (Code::NOT_ACCEPTABLE, None));
    }

    #[test]
    fn only_what_the_broker_can_get_is_a_message() {
        let put = Request::new(Method::Put).payload(*b"on");
        let refused = |topic: &str, request: &Request| {
            bridge().message(topic, request).expect_err("it is refused").code
        };
        let message = bridge().message("site/a/set", &put.clone().content_format(JSON)).unwrap();
        assert_eq!((&*message.broker, message.retain), ("cloud", true));
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        let post = Request { method: Method::Post, ..put.clone() };
        assert!(!bridge().message("site/a/set", &post).unwrap().retain);
        assert_eq!(refused("site/a/get", &put), Code::FORBIDDEN);
        assert_eq!(refused("", &put), Code::BAD_REQUEST);
        assert_eq!(refused("site/\u{1}/set", &put), Code::BAD_REQUEST);
        let only_new = put.clone().option(OptionNumber::IF_NONE_MATCH, b"");
        let refusal = Bridge::check_conditions(&only_new).expect_err("it is refused");
        assert_eq!(refusal.code, Code::PRECONDITION_FAILED);
        let large = put.payload(vec![0; 900]);
        assert_eq!(refused("site/a/set", &large), Code::REQUEST_ENTITY_TOO_LARGE);
        // Nothing is read where no topic is subscribed.
        assert_eq!(bridge().want("site/a", &post).err().unwrap().code, Code::FORBIDDEN);
    }
}
