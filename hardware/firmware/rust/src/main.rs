//! A node of the link protocol on `proto`: it counts, and reports its count and a temperature ten
//! times a second while the gateway acknowledges, and does what it is told.

#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod tasks;

use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::time::Duration;

use cortex_m_rt::entry;
use embedded_alloc::LlffHeap;
use proto::Instant;
use proto::frame::{Framer, Framing, cobs};
use proto::link::{Channel, MAX_FRAME, Node, NodeConfig, NodeEvent, NodeOutput};

use board::Board;
use tasks::Tasks;

const DEVICE: u32 = 42;
const EVERY_MS: u64 = 100;
const HEAP_BYTES: usize = 40 * 1024;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();
static mut HEAP_MEMORY: [MaybeUninit<u8>; HEAP_BYTES] = [MaybeUninit::uninit(); HEAP_BYTES];

#[entry]
fn main() -> ! {
    // SAFETY: it is called once, and nothing else uses this memory.
    unsafe { HEAP.init(&raw mut HEAP_MEMORY as usize, HEAP_BYTES) }
    let Some(board) = Board::start() else { halt() };
    run(board)
}

fn run(mut board: Board) -> ! {
    let channel = |name: &str, unit: Option<&str>, exponent| Channel {
        name: name.to_string(),
        unit: unit.map(|unit| unit.to_string()),
        exponent,
    };
    let channels = vec![channel("temp", Some("Cel"), -2), channel("count", None, 0)];
    // This board has no memory that outlives a start: the gateway says which epoch is next.
    let mut node = Node::new(NodeConfig { queue: 8, ..NodeConfig::new(DEVICE, 1, channels) }, 1);
    let mut framer = Framer::new(Framing::Cobs, MAX_FRAME);
    let (mut count, mut next) = (1, 0);
    let mut tasks = Tasks::new();
    loop {
        let ms = board.now_ms();
        let now = Instant::ZERO + Duration::from_millis(ms);
        while let Some(byte) = board.receive() {
            framer.handle_bytes(&[byte]);
            while let Some(frame) = framer.poll_frame() {
                if let Ok(frame) = frame {
                    node.handle_frame(now, frame);
                }
            }
        }
        if ms >= next {
            count += i64::from(node.report(now, &[(0, 2000 + count % 100), (1, count)]).is_ok());
            next = ms + EVERY_MS;
        }
        node.handle_timeout(now);
        while let Some(frame) = transmit(&mut node, &mut tasks) {
            let mut stuffed = Vec::new();
            cobs::encode(&frame, &mut stuffed);
            board.send(&stuffed);
        }
    }
}

/// The next frame that the node has to send, once it has done what it is told.
fn transmit(node: &mut Node, tasks: &mut Tasks) -> Option<Vec<u8>> {
    loop {
        match node.poll_output() {
            NodeOutput::Transmit(frame) => return Some(frame),
            NodeOutput::Event(NodeEvent::Command { number, payload }) => {
                node.respond(number, tasks.run(&payload).encode());
            }
            // A node with something to do besides would look at these.
            NodeOutput::Event(_) => {}
            NodeOutput::Wait(_) => return None,
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}

fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}
