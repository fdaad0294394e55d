diag::codes! {
    /// No container engine answers.
    pub ENGINE_UNAVAILABLE = Environment "docker-engine-unavailable": "no container engine answers" {
        "cause": "the engine is not installed, not running, or not accessible to this user",
        "fix": "start it (`sudo systemctl start docker`) or join its group (`sudo usermod -aG docker $USER`)",
    }
    /// The engine could not do what was requested.
    pub ENGINE_FAILED = Environment "docker-engine-failed": "the container engine could not carry out a command" {
        "cause": "no disk space, an unsupported option, or a fault of the engine; its own words are in `found`",
        "fix": "run the quoted command by hand",
    }
    /// The engine ignores the memory limit.
    pub NO_MEMORY_LIMIT = NotMeasured "docker-no-memory-limit": "the container ran without its memory limit" {
        "cause": "the kernel's memory controller is off, and the engine continues without the limit",
        "fix": "enable the memory controller (kernel parameter cgroup_enable=memory) and restart",
    }
    /// No image archive, or more than one.
    pub NO_ARCHIVE = Environment "docker-no-archive": "the folder does not have exactly one image archive" {
        "cause": "`cargo xtask dist` has not run, or files of several runs are in the folder",
        "fix": "run `cargo xtask dist`; `--dist` names another folder",
    }
    /// The archive is not the one that the manifest describes.
    pub ARCHIVE_MISMATCH = Environment "docker-archive-mismatch": "the image archive differs from dist-manifest.json" {
        "cause": "files of two runs are mixed, or one of them was changed after the run",
        "fix": "run `cargo xtask dist`, which writes both",
    }
    /// The engine holds another image under the reference.
    pub IMAGE_REPLACED = Violation "docker-image-replaced": "the engine holds another image under the reference than the archive contains" {
        "catches": "another process that loads or tags the same reference at the same time",
        "fix": "run the verb again",
    }
    /// The model folder cannot be used from inside a container.
    pub MODEL_FOLDER = Environment "docker-model-folder": "the model folder cannot be read inside a container" {
        "cause": "the program's user owns nothing on the host: files must be readable by others, and links must stay inside the folder",
        "fix": "copy it: cp -rL FROM model && chmod -R a+rX model",
    }
    /// `inferd selftest` failed in its container.
    pub SELFTEST_FAILED = Violation "docker-selftest-failed": "`selftest` failed in the container" {
        "catches": "an image whose program does not run under its limits",
        "fix": "run the quoted command by hand",
    }
    /// `inferd selftest` could not measure something.
    pub SELFTEST_NOT_MEASURED = NotMeasured "docker-selftest-not-measured": "`selftest` could not measure everything in the container" {
        "cause": "the container lacks something that a measurement needs; the program names it",
        "fix": "run the quoted command by hand",
    }
    /// `inferd embed` failed in its container.
    pub EMBED_FAILED = Violation "docker-embed-failed": "`embed` failed in the container" {
        "catches": "an image that starts but cannot compute a vector of the mounted model",
        "fix": "run the quoted command by hand",
    }
}
