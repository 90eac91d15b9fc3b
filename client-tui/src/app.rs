//! Owns: the loop: what happens → update → what is wanted → a frame.
//! Guarantees: at most 30 frames a second (10 while the terminal is not looked at); a frame only after a
//! change; nothing runs while nothing happens.

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{Event, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::background::Late;
use crate::keep::Keep;
use crate::keyboard::{self, Keyboard};
use crate::model::Model;
use crate::msg::{Cmd, Msg, ToLink};
use crate::terminal::Terminal;
use crate::{editor, update, view};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(33);
/// The same while nobody looks.
const FRAME_UNFOCUSED: Duration = Duration::from_millis(100);
/// Messages taken in before the next look at the clock.
const BATCH: usize = 512;
/// Rows of the footer in inline mode.
pub(crate) const FOOTER: u16 = 8;
/// Lines of one turn of the wheel.
const WHEEL: i64 = 3;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The person left.
    Left,
    Hangup,
    Terminated,
}

/// The running program.
pub(crate) struct App {
    model: Model,
    terminal: Terminal,
    wishes: mpsc::Sender<ToLink>,
    news: mpsc::Receiver<Msg>,
    keep: Keep,
    dirty: bool,
    drawn: Option<Instant>,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone. Of that no signal tells a program in a process session of its own.
    gone: oneshot::Receiver<()>,
}

/// What the loop woke up for.
enum Woken {
    Message(Msg),
    Frame,
    Ended(End),
    /// Nothing that matters here.
    Nothing,
}

impl App {
    pub(crate) fn new(
        model: Model,
        terminal: Terminal,
        wishes: mpsc::Sender<ToLink>,
        news: mpsc::Receiver<Msg>,
        keep: Keep,
    ) -> Self {
        Self {
            model,
            terminal,
            wishes,
            news,
            keep,
            dirty: true,
            drawn: None,
        }
    }

    /// Runs until the person leaves or the terminal does; what was being written is kept then.
    /// `late` is what the terminal has yet to answer.
    pub(crate) async fn run(mut self, first: Vec<Cmd>, late: Late) -> io::Result<End> {
        let end = self.turn_around(first, late).await;
        self.keep.write(&self.model);
        end
    }

    async fn turn_around(&mut self, first: Vec<Cmd>, late: Late) -> io::Result<End> {
        let mut signals = Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            gone: keyboard::gone()?,
        };
        let mut keyboard = Keyboard::open(late);
        let mut pending = first;
        loop {
            for cmd in std::mem::take(&mut pending) {
                match cmd {
                    Cmd::Quit => return Ok(End::Left),
                    Cmd::Editor { text, toml } => {
                        // Its keys are its own: nothing else may read them.
                        keyboard.close().await;
                        let written = self.edit(text, toml).await?;
                        keyboard = Keyboard::open(Late::Nothing);
                        pending.extend(self.update(Msg::Edited(written)));
                    }
                    other => self.perform(other).await?,
                }
            }
            if !pending.is_empty() {
                continue;
            }
            self.draw_when_due()?;
            self.keep.look(&self.model, Instant::now());
            match self.wait(&mut keyboard, &mut signals).await {
                Woken::Message(msg) => pending = self.batch(msg),
                Woken::Frame => {}
                Woken::Ended(end) => return Ok(end),
                Woken::Nothing => {}
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, keyboard: &mut Keyboard, signals: &mut Signals) -> Woken {
        let frame = self.frame_at();
        let clock = [self.model.wakes_at(), self.keep.due()]
            .into_iter()
            .flatten()
            .min();
        let at = frame.or(clock);
        let time = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => Woken::Ended(End::Terminated),
            _ = signals.interrupt.recv() => Woken::Ended(End::Terminated),
            _ = signals.hangup.recv() => Woken::Ended(End::Hangup),
            // Gone, or nobody watches it any more.
            _ = &mut signals.gone => Woken::Ended(End::Hangup),
            event = keyboard.next() => match event {
                Some(event) => message(event).map_or(Woken::Nothing, Woken::Message),
                None => Woken::Ended(End::Hangup),
            },
            news = self.news.recv() => news.map_or(Woken::Ended(End::Left), Woken::Message),
            () = time => if frame.is_some() { Woken::Frame } else { Woken::Message(Msg::Tick) },
        }
    }

    /// Takes in a message and those that are already there.
    fn batch(&mut self, first: Msg) -> Vec<Cmd> {
        let mut cmds = self.update(first);
        for _ in 0..BATCH {
            let Ok(msg) = self.news.try_recv() else { break };
            cmds.extend(self.update(msg));
        }
        cmds
    }

    fn update(&mut self, mut msg: Msg) -> Vec<Cmd> {
        if let Msg::Resize(_, height) = &mut msg {
            // Also when the size is the old one again: what the terminal did in between with what it
            // showed, and what was written for a size it no longer had, is unknown.
            self.terminal.forget();
            if self.model.inline {
                *height = FOOTER.min(*height);
            }
        }
        self.model.wall = jiff::Timestamp::now().as_second();
        self.dirty = true;
        update::update(&mut self.model, msg, Instant::now())
    }

    /// When the next frame is due, if one is.
    fn frame_at(&self) -> Option<Instant> {
        let pause = if self.model.focused {
            FRAME
        } else {
            FRAME_UNFOCUSED
        };
        self.dirty
            .then(|| self.drawn.map_or_else(Instant::now, |drawn| drawn + pause))
    }

    fn draw_when_due(&mut self) -> io::Result<()> {
        if self.frame_at().is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        let (width, height) = self.model.size;
        if self.model.inline
            && let Some((seq, lines)) = crate::layout::settled(&self.model, width)
        {
            // The scrollback belongs to the terminal: the model only remembers how far it reaches.
            self.model.printed = seq;
            self.terminal.print(lines, width)?;
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let cursor = view::draw(&self.model, &mut buffer);
        if self.terminal.show(buffer, cursor)? {
            self.drawn = Some(Instant::now());
        }
        self.dirty = false;
        Ok(())
    }

    async fn perform(&mut self, cmd: Cmd) -> io::Result<()> {
        match cmd {
            // The link is gone only when the program ends.
            Cmd::Link(wish) => drop(self.wishes.send(wish).await),
            Cmd::Copy(text) => self.terminal.copy(&text)?,
            Cmd::Redraw => {
                self.terminal.forget();
                self.dirty = true;
            }
            Cmd::Mouse(on) => self.terminal.mouse(on)?,
            Cmd::Notify(words) => self.terminal.notify(&words)?,
            Cmd::Suspend => {
                crate::terminal::restore();
                // Stops here until the shell lets it go on.
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
                self.terminal.enter()?;
                self.dirty = true;
            }
            Cmd::Quit | Cmd::Editor { .. } => {}
        }
        Ok(())
    }

    /// Lets the person write in their own editor.
    async fn edit(&mut self, text: String, toml: bool) -> io::Result<Option<String>> {
        crate::terminal::restore();
        let written = editor::write(&text, if toml { ".toml" } else { ".md" }).await;
        self.terminal.enter()?;
        if let Ok((width, height)) = crossterm::terminal::size() {
            let height = if self.model.inline {
                height.min(FOOTER)
            } else {
                height
            };
            self.model.size = (width, height);
        }
        self.dirty = true;
        Ok(written)
    }
}

fn message(event: Event) -> Option<Msg> {
    Some(match event {
        Event::Key(key) => Msg::Key(key),
        Event::Paste(text) => Msg::Paste(text),
        Event::Resize(width, height) => Msg::Resize(width, height),
        Event::FocusGained => Msg::Focus(true),
        Event::FocusLost => Msg::Focus(false),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Msg::Wheel(-WHEEL),
            MouseEventKind::ScrollDown => Msg::Wheel(WHEEL),
            MouseEventKind::Down(crossterm::event::MouseButton::Left) => Msg::Click(mouse.column, mouse.row),
            _ => return None,
        },
    })
}
