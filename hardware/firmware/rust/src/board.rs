//! What of the chip is used: a clock of milliseconds and the first serial port. The addresses are
//! those of the LM3S6965's data sheet, and each register is used here alone.

use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, Peripherals};
use cortex_m_rt::exception;

const UART_DATA: *mut u32 = 0x4000_c000 as *mut u32;
const UART_FLAGS: *mut u32 = 0x4000_c018 as *mut u32;
const UART_CONTROL: *mut u32 = 0x4000_c030 as *mut u32;
const UART_INTERRUPTS: *mut u32 = 0x4000_c038 as *mut u32;
const RECEIVED: u32 = 0x50;
const FULL: u32 = 0x20;
const EMPTY: u32 = 0x10;
const UART_INTERRUPT: u8 = 5;
const TICKS_A_MS: u32 = 12_500;
/// Received bytes that are kept until they are taken; later ones are lost, as on any line.
const KEPT: usize = 512;

static TICKS: AtomicU32 = AtomicU32::new(0);
static BYTES: [AtomicU8; KEPT] = [const { AtomicU8::new(0) }; KEPT];
static TO: AtomicUsize = AtomicUsize::new(0);

/// The chip.
pub struct Board {
    taken: usize,
    last: u32,
    wraps: u64,
}

#[derive(Clone, Copy)]
struct Uart;

// SAFETY: the number is that of the port's interrupt on this chip.
unsafe impl cortex_m::interrupt::InterruptNumber for Uart {
    fn number(self) -> u16 {
        UART_INTERRUPT.into()
    }
}

impl Board {
    /// Starts clock and port; `None` the second time.
    pub fn start() -> Option<Self> {
        let mut peripherals = Peripherals::take()?;
        peripherals.SYST.set_clock_source(SystClkSource::Core);
        peripherals.SYST.set_reload(TICKS_A_MS - 1);
        peripherals.SYST.clear_current();
        peripherals.SYST.enable_interrupt();
        peripherals.SYST.enable_counter();
        // SAFETY: these are the port's registers, and nothing waits for its interrupt yet.
        unsafe {
            write_volatile(UART_INTERRUPTS, RECEIVED);
            write_volatile(UART_CONTROL, 0x301);
            NVIC::unmask(Uart);
        }
        Some(Self { taken: 0, last: 0, wraps: 0 })
    }

    /// Milliseconds since the start.
    pub fn now_ms(&mut self) -> u64 {
        let ticks = TICKS.load(Relaxed);
        self.wraps += u64::from(ticks < self.last);
        self.last = ticks;
        self.wraps << 32 | u64::from(ticks)
    }

    /// The next byte that was received.
    pub fn receive(&mut self) -> Option<u8> {
        if self.taken == TO.load(Relaxed) {
            return None;
        }
        let byte = BYTES.get(self.taken % KEPT).map(|byte| byte.load(Relaxed));
        self.taken = self.taken.wrapping_add(1);
        byte
    }

    /// Sends bytes, and waits until the port has taken them.
    pub fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: these are the port's registers.
            unsafe {
                while read_volatile(UART_FLAGS) & FULL != 0 {}
                write_volatile(UART_DATA, byte.into());
            }
        }
    }
}

#[exception]
fn SysTick() {
    // There is no atomic addition that a single writer would need.
    TICKS.store(TICKS.load(Relaxed).wrapping_add(1), Relaxed);
}

#[exception]
unsafe fn DefaultHandler(_number: i16) {
    // SAFETY: these are the port's registers; its interrupt is the only one that is on.
    unsafe {
        while read_volatile(UART_FLAGS) & EMPTY == 0 {
            let to = TO.load(Relaxed);
            if let (Some(byte), Ok(read)) =
                (BYTES.get(to % KEPT), u8::try_from(read_volatile(UART_DATA) & 0xff))
            {
                byte.store(read, Relaxed);
                TO.store(to.wrapping_add(1), Relaxed);
            }
        }
    }
}
