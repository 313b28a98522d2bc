//! A serial port of the system: opened, set up, and a stream of bytes.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{ControlModes, OptionalActions, isatty, tcgetattr, tcsetattr};
use serial2::rs4xx::{Rs485Config, TransceiverMode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

use crate::config::{DataBits, Parity, Rs485, SerialLink, StopBits};

/// How far a port's real speed may be from the one that was asked for, in percent: receivers allow
/// for about two, on both ends together (each samples the middle of the tenth bit).
const MAX_DEVIATION: u64 = 3;

/// An open port. Dropping it closes the descriptor, which a port that is gone needs at once: while it
/// is held, the kernel gives the device another name when it comes back.
#[derive(Debug)]
pub(crate) struct Port(SerialStream);

/// Why a port cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    #[error("it is not plugged in, or has another name; see /dev/serial/by-id")]
    Missing(#[source] io::Error),
    #[error("the gateway may not open it; add its user to the group `dialout`")]
    Forbidden(#[source] io::Error),
    #[error("another program has it open (`fuser -v PATH` says which); stop that")]
    Busy(#[source] io::Error),
    #[error("it is not a serial port; correct `link.path`")]
    NoPort,
    #[error("its driver does not take these settings; see `link.baud` and `link.data_bits`")]
    Settings(#[source] io::Error),
    #[error(
        "it runs at {actual} baud, because its driver cannot do {asked}; choose a speed that it can"
    )]
    Baud { asked: u32, actual: u32 },
    #[error(
        "its driver cannot switch RS-485; remove `link.rs485` if the adapter switches by itself"
    )]
    Rs485(#[source] io::Error),
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl Port {
    /// Opens a port for this program alone and sets it up.
    pub(crate) fn open(link: &SerialLink) -> Result<Self, PortError> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(
            rustix::fs::open(&link.path, flags, Mode::empty()).map_err(PortError::of_open)?,
        );
        if !isatty(&file) {
            return Err(PortError::NoPort);
        }
        // The stream locks the port for itself; this tells a port that is in use from one that fails.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(PortError::of_open)?;
        flock(&file, FlockOperation::Unlock).map_err(PortError::of_open)?;
        let stream = stream(link)?;
        set_up(&file, link)?;
        if let Some(rs485) = &link.rs485 {
            switch_rs485(&file, rs485).map_err(PortError::Rs485)?;
        }
        Ok(Self(stream))
    }
}

impl PortError {
    fn of_open(errno: Errno) -> Self {
        let error = io::Error::from(errno);
        match errno {
            Errno::BUSY | Errno::WOULDBLOCK => Self::Busy(error),
            Errno::ACCESS | Errno::PERM => Self::Forbidden(error),
            Errno::NOENT | Errno::NODEV | Errno::NXIO => Self::Missing(error),
            Errno::ISDIR | Errno::NOTTY => Self::NoPort,
            _ => Self::Read(error),
        }
    }
}

/// Raw bytes at the speed and in the format of the link.
fn stream(link: &SerialLink) -> Result<SerialStream, PortError> {
    let stream = tokio_serial::new(link.path.to_string_lossy(), link.baud)
        .data_bits(match link.data_bits {
            DataBits::Five => tokio_serial::DataBits::Five,
            DataBits::Six => tokio_serial::DataBits::Six,
            DataBits::Seven => tokio_serial::DataBits::Seven,
            DataBits::Eight => tokio_serial::DataBits::Eight,
        })
        .parity(match link.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(match link.stop_bits {
            StopBits::One => tokio_serial::StopBits::One,
            StopBits::Two => tokio_serial::StopBits::Two,
        })
        .open_native_async();
    stream.map_err(|error| PortError::Settings(error.into()))
}

/// What `tokio-serial` leaves as it finds it.
fn set_up(port: impl AsFd, link: &SerialLink) -> Result<(), PortError> {
    let failed = |errno: Errno| PortError::Settings(errno.into());
    let mut termios = tcgetattr(&port).map_err(failed)?;
    // Closing the port must not lower DTR, which resets many boards when they are opened the next
    // time.
    termios.control_modes.remove(ControlModes::HUPCL);
    // Once more, as a speed that has a name where it has one: other programs show only those.
    termios.set_speed(link.baud).map_err(failed)?;
    tcsetattr(&port, OptionalActions::Now, &termios).map_err(failed)?;
    // A driver takes the nearest speed that it has, and says so only when it is asked.
    let actual = tcgetattr(&port).map_err(failed)?.output_speed();
    if !is_near(link.baud, actual) {
        return Err(PortError::Baud { asked: link.baud, actual });
    }
    Ok(())
}

fn is_near(asked: u32, actual: u32) -> bool {
    u64::from(asked.abs_diff(actual)) * 100 <= u64::from(asked) * MAX_DEVIATION
}

/// The driver switches the transmitter on and off (TIOCSRS485).
fn switch_rs485(port: impl AsFd, settings: &Rs485) -> io::Result<()> {
    let port = serial2::SerialPort::from(port.as_fd().try_clone_to_owned()?);
    let mut config = Rs485Config::new();
    config.set_invert_rts(settings.invert_rts);
    config.set_delay_before_send(settings.delay_before.duration());
    config.set_delay_after_send(settings.delay_after.duration());
    config.set_bus_termination(settings.terminate);
    port.set_rs4xx_mode(TransceiverMode::Rs485(config))
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(task, buffer)
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(task, bytes)
    }

    /// Does nothing: waiting until all bits are on the line (tcdrain) would block the only thread.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
