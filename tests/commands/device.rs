//! A device that is told what to do in lines, over anything that has two directions.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::harness::clock::wait_until;
use crate::harness::serial::Cable;

/// What it says to a line that it was told, of which it is told how many came before.
pub(crate) type Script = fn(usize, &str) -> Option<String>;

/// What it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How often it was told this.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|told| *told == line).count()
    }

    pub(crate) fn wait_for(&self, line: &str) {
        wait_until(&format!("the device to be told {line}"), || self.count(line) > 0);
    }

    fn serve(&self, reader: impl Read, mut writer: impl Write, script: Script) -> io::Result<()> {
        for line in BufReader::new(reader).lines() {
            let line = line?;
            let number = {
                let mut all = self.0.lock().unwrap();
                all.push(line.clone());
                all.len() - 1
            };
            if let Some(answer) = script(number, &line) {
                writer.write_all(answer.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// A device at the other end of a serial cable.
#[derive(Debug)]
pub(crate) struct SerialDevice {
    cable: Option<Cable>,
    told: Told,
    script: Script,
    thread: Option<JoinHandle<()>>,
}

impl SerialDevice {
    pub(crate) fn new(script: Script) -> Self {
        let (cable, told) = (Some(Cable::new()), Told::default());
        let mut device = Self { cable, told, script, thread: None };
        device.listen();
        device
    }

    pub(crate) fn port(&self) -> String {
        self.cable.as_ref().unwrap().port().display().to_string()
    }

    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    /// Says something by itself.
    pub(crate) fn say(&mut self, text: &str) {
        self.cable.as_mut().unwrap().send(text.as_bytes());
    }

    pub(crate) fn unplug(&mut self) {
        self.cable.as_mut().unwrap().unplug();
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn plug(&mut self) {
        self.cable.as_mut().unwrap().plug();
        self.listen();
    }

    fn listen(&mut self) {
        let end = self.cable.as_ref().unwrap().far_end();
        let file = OpenOptions::new().read(true).write(true).open(end).unwrap();
        let (told, script) = (self.told.clone(), self.script);
        self.thread = Some(thread::spawn(move || {
            // It ends with the cable.
            let _ = told.serve(&file, &file, script);
        }));
    }
}

impl Drop for SerialDevice {
    fn drop(&mut self) {
        // Its thread reads from the cable.
        drop(self.cable.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A device that connects to the gateway, says who it is, and then listens.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: TcpStream,
    told: Told,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    pub(crate) fn connect(gateway: SocketAddr, hello: &str, script: Script) -> Self {
        let stream = TcpStream::connect(gateway).unwrap();
        (&stream).write_all(hello.as_bytes()).unwrap();
        let (told, own) = (Told::default(), stream.try_clone().unwrap());
        let in_thread = told.clone();
        let thread = thread::spawn(move || drop(in_thread.serve(&own, &own, script)));
        Self { stream, told, thread: Some(thread) }
    }

    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    pub(crate) fn say(&self, text: &str) {
        (&self.stream).write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A device that the gateway connects to: one connection at a time.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    told: Told,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Told::default());
        let in_thread = told.clone();
        // It ends with the test's process: there is nothing of it outside.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = in_thread.serve(&stream, &stream, script);
            }
        });
        Self { address, told }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }
}
