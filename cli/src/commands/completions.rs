//! `completions`: for a shell, printed or put where the shell looks.

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{CommandResult, Exit, args::Cli, out::Out};

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct InstallError {
    path: PathBuf,
    source: io::Error,
}

pub(crate) fn completions(shell: Shell, install: bool, out: &mut Out) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "last-seen", &mut script);
    if install {
        let Some(path) = path(shell) else {
            out.report(&format!(
                "there is no folder for completions of {shell}: source what `last-seen completions {shell}` prints"
            ));
            return Ok(Exit::USAGE);
        };
        let failed = |source| InstallError { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&path, &script).map_err(failed)?;
        out.remark(&format!("wrote {}{}", path.display(), hint(shell)));
        return Ok(Exit::DONE);
    }
    out.write(&script);
    if io::stdout().is_terminal() {
        out.remark(&format!("put this where the shell looks: last-seen completions {shell} --install"));
    }
    Ok(Exit::DONE)
}

/// Where the shell looks in a home folder.
fn path(shell: Shell) -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME")?;
    let xdg = |name: &str, default: &str| folder(name).unwrap_or_else(|| home.join(default));
    match shell {
        Shell::Bash => {
            Some(xdg("XDG_DATA_HOME", ".local/share").join("bash-completion/completions/last-seen"))
        }
        Shell::Zsh => Some(home.join(".zfunc/_last-seen")),
        Shell::Fish => Some(xdg("XDG_CONFIG_HOME", ".config").join("fish/completions/last-seen.fish")),
        _ => None,
    }
}

fn hint(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "; a new shell uses it, if bash-completion is installed",
        Shell::Zsh => "; ~/.zshrc needs the line `fpath+=~/.zfunc` before `compinit`",
        _ => "; a new shell uses it",
    }
}
