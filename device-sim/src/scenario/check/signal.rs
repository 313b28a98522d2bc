//! What a signal says becomes one that can be sampled.

use super::super::model::SignalConfig;
use super::super::{recorded, values};
use super::Check;
use crate::settings::Id;
use crate::signal::Signal;

impl Check<'_> {
    pub(super) fn signal(&mut self, name: &Id, config: &SignalConfig) -> Option<Signal> {
        let at = ["signals", name.as_str()];
        let wrong = |title: &str, expected: &str| Some((title.to_owned(), expected.to_owned()));
        let problem = match config {
            SignalConfig::Walk(walk) if walk.min > walk.max => {
                wrong("`min` is above `max`", "expected `min` below `max`")
            }
            SignalConfig::Gauss(gauss) if gauss.min > gauss.max && gauss.max.is_some() => {
                wrong("`min` is above `max`", "expected `min` below `max`")
            }
            SignalConfig::Enum(choice) if choice.values.is_empty() => {
                wrong("no values", "expected one value or more in `values`")
            }
            SignalConfig::Enum(choice) => choice.weights.as_ref().and_then(|weights| {
                let is_positive = weights.iter().all(|weight| *weight >= 0.0);
                let fits = is_positive && weights.iter().sum::<f64>() > 0.0;
                match fits && weights.len() == choice.values.len() {
                    true => None,
                    false => wrong(
                        "weights that do not fit",
                        "expected one weight of 0 or more for each value, and one above 0",
                    ),
                }
            }),
            SignalConfig::Sine(_)
            | SignalConfig::Constant(_)
            | SignalConfig::Square(_)
            | SignalConfig::Ramp(_)
            | SignalConfig::Walk(_)
            | SignalConfig::Gauss(_)
            | SignalConfig::Replay(_)
            | SignalConfig::Counter(_)
            | SignalConfig::Text(_) => None,
        };
        if let Some((title, expected)) = problem {
            self.refuse(at, title, expected);
            return None;
        }
        Some(match config {
            SignalConfig::Constant(constant) => Signal::Constant(constant.value.0.clone()),
            SignalConfig::Sine(sine) => Signal::Sine {
                mean: sine.mean,
                amplitude: sine.amplitude,
                period: sine.period.duration(),
                noise: sine.noise,
            },
            SignalConfig::Square(square) => Signal::Square {
                low: square.low,
                high: square.high,
                period: square.period.duration(),
                duty: square.duty.map_or(0.5, values::Share::part),
            },
            SignalConfig::Ramp(ramp) => {
                Signal::Ramp { from: ramp.from, to: ramp.to, period: ramp.period.duration() }
            }
            SignalConfig::Walk(walk) => {
                Signal::Walk { start: walk.start, step: walk.step, min: walk.min, max: walk.max }
            }
            SignalConfig::Gauss(gauss) => Signal::Gauss {
                mean: gauss.mean,
                deviation: gauss.deviation,
                min: gauss.min.unwrap_or(f64::MIN),
                max: gauss.max.unwrap_or(f64::MAX),
            },
            SignalConfig::Counter(counter) => {
                Signal::Counter { start: counter.start, step: counter.step.unwrap_or(1.0) }
            }
            SignalConfig::Text(text) => Signal::Text(text.template.as_str().into()),
            SignalConfig::Enum(choice) => {
                let weights = choice.weights.iter().flatten().copied().map(Some);
                let weights = weights.chain(std::iter::repeat(None));
                let weighed = choice.values.iter().zip(weights);
                Signal::Choice {
                    values: weighed
                        .map(|(value, weight)| (value.0.clone(), weight.unwrap_or(1.0)))
                        .collect(),
                    in_turn: choice.in_turn,
                }
            }
            SignalConfig::Replay(replay) => {
                match recorded::read(&self.folder.join(&replay.file), &replay.column) {
                    Ok(values) => Signal::Replay { values: values.into(), repeat: replay.repeat },
                    Err(error) => {
                        let is_column = matches!(error, recorded::RecordedError::Column { .. });
                        let key = if is_column { "column" } else { "file" };
                        let title = format!("nothing to replay: {error}");
                        self.refuse(["signals", name.as_str(), key], title, "");
                        return None;
                    }
                }
            }
        })
    }
}
