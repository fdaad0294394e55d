diag::codes! {
    /// An image specification is invalid.
    pub IMAGE_SPEC = Usage "image-spec": "the image specification is invalid" {
        "cause": "a value that an engine rejects, or accepts and fails on later; every invalid value is reported",
        "fix": "change the value that the message names",
    }
    /// An image archive is damaged or has another structure than expected.
    pub IMAGE_ARCHIVE = Environment "image-archive": "an image archive is damaged or has another structure than expected" {
        "cause": "an incomplete copy, a full disk, or an archive of another program",
        "fix": "write the archive again",
    }
    /// An image could not be written.
    pub IMAGE_WRITE = Environment "image-write": "an image could not be written" {
        "cause": "the path exists, is not writable, or its disk is full",
        "fix": "name a path that does not exist on a disk with free space",
    }
}
