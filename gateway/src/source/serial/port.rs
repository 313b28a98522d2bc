//! A serial port of the system: opened, set up, and a stream of bytes.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, OptionalActions, ioctl_tiocexcl, isatty, tcgetattr, tcsetattr,
};
use serial2::rs4xx::{Rs485Config, TransceiverMode};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{DataBits, Parity, Rs485, SerialLink, StopBits};

/// How far a port's real speed may be from the one that was asked for, in percent: receivers allow
/// for about two, on both ends together (each samples the middle of the tenth bit).
const MAX_DEVIATION: u64 = 3;

/// An open port. Dropping it closes the descriptor, which a port that is gone needs at once: while it
/// is held, the kernel gives the device another name when it comes back.
#[derive(Debug)]
pub(crate) struct Port(AsyncFd<File>);

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
        // The lock stands between programs of the superuser too, whom TIOCEXCL does not hold off.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(PortError::of_open)?;
        ioctl_tiocexcl(&file).map_err(PortError::of_open)?;
        set_up(&file, link)?;
        if let Some(rs485) = &link.rs485 {
            switch_rs485(&file, rs485).map_err(PortError::Rs485)?;
        }
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for descriptors that change; that of a file does not"
        )]
        let file = AsyncFd::new(file).map_err(PortError::Read)?;
        Ok(Self(file))
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
fn set_up(port: impl AsFd, link: &SerialLink) -> Result<(), PortError> {
    let failed = |errno: Errno| PortError::Settings(errno.into());
    let mut termios = tcgetattr(&port).map_err(failed)?;
    termios.make_raw();
    let modes = &mut termios.control_modes;
    modes.remove(
        ControlModes::CSIZE
            | ControlModes::PARENB
            | ControlModes::PARODD
            | ControlModes::CSTOPB
            | ControlModes::CRTSCTS
            // Closing the port must not lower DTR, which resets many boards when they are opened
            // the next time.
            | ControlModes::HUPCL,
    );
    modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    modes.insert(match link.data_bits {
        DataBits::Five => ControlModes::CS5,
        DataBits::Six => ControlModes::CS6,
        DataBits::Seven => ControlModes::CS7,
        DataBits::Eight => ControlModes::CS8,
    });
    match link.parity {
        Parity::None => {}
        Parity::Even => modes.insert(ControlModes::PARENB),
        Parity::Odd => modes.insert(ControlModes::PARENB | ControlModes::PARODD),
    }
    if link.stop_bits == StopBits::Two {
        modes.insert(ControlModes::CSTOPB);
    }
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
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(task))?;
            let read = ready.try_io(|file| file.get_ref().read(buffer.initialize_unfilled()));
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(task))?;
            match ready.try_io(|file| file.get_ref().write(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    /// Does nothing: waiting until all bits are on the line (tcdrain) would block the only thread.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
