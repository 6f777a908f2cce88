//! Finding the data: a named directory, the cache, a download with a progress bar, or the built-in set with a notice.

use super::CommandError;
use crate::data::download::Progress;
use crate::data::{Fashion, fashion_mnist};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;

/// Where the images come from.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Directory with the four Fashion-MNIST files, gzipped or not. Without it: the directory that FASHION_MNIST_DIR
    /// names, the cache, a download from the data's authors, or a built-in set drawn by a program.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Never use the network.
    #[arg(long)]
    offline: bool,
}

impl DataArgs {
    /// Loads the data and says on standard error where it came from.
    pub(super) fn load(&self) -> Result<Fashion, CommandError> {
        let mut options = fashion_mnist::LoadOptions::from_env();
        if let Some(directory) = &self.data {
            options.directory = Some(directory.clone());
        }
        options.offline |= self.offline;
        let mut bar = DownloadBar(None);
        let fashion = fashion_mnist::load_with(&options, &mut |progress| bar.show(progress))?;
        bar.finish();
        match fashion.source.notice() {
            Some(notice) => eprintln!("{notice}"),
            None => eprintln!("data: {}", fashion.source),
        }
        Ok(fashion)
    }
}

struct DownloadBar(Option<(String, ProgressBar)>);

impl DownloadBar {
    fn show(&mut self, progress: Progress<'_>) {
        let same = self.0.as_ref().is_some_and(|(file, _)| file == progress.file);
        if !same {
            self.finish();
            let bar = ProgressBar::new(progress.total.unwrap_or(0));
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30.cyan} {bytes}/{total_bytes}  {eta}") {
                bar.set_style(style);
            }
            bar.set_prefix(progress.file.to_owned());
            self.0 = Some((progress.file.to_owned(), bar));
        }
        if let Some((_, bar)) = &self.0 {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.received);
        }
    }

    fn finish(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
