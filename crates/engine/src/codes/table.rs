//! The codes of the engine.
//!
//! This file is also part of `xtask`, which explains the codes of all programs without a dependency on their crates. It holds
//! nothing but the table.

diag::codes! {
    /// A file of the model folder does not exist.
    pub MODEL_FILE_MISSING = Environment "model-file-missing": "the model folder lacks a required file" {
        "cause": "the path is wrong, a download is incomplete, or the folder was not written by sentence-transformers",
        "fix": "check the path, then fetch the model folder again",
    }
    /// A file of the model folder cannot be read or mapped.
    pub MODEL_FILE_UNREADABLE = Environment "model-file-unreadable": "a file of the model folder cannot be read" {
        "cause": "permissions, a directory in place of a file, an I/O error, or a writer that modifies the file",
        "fix": "check the owner and the mode with `ls -l`; replace model files by rename, not in place",
    }
    /// A file of the model folder cannot be parsed.
    pub MODEL_FILE_MALFORMED = Environment "model-file-malformed": "a file of the model folder cannot be parsed" {
        "cause": "the file is damaged, or it is not the JSON, the tokenizer or the safetensors header that its name implies",
        "fix": "fetch the model folder again, or save the model again with sentence-transformers",
    }
    /// Two values of the configuration contradict each other.
    pub MODEL_CONFIG_INCONSISTENT = Environment "model-config-inconsistent": "the model configuration contradicts itself" {
        "cause": "files of different models are in one folder, or a configuration file was edited",
        "fix": "fetch the model folder again, or save the model again with sentence-transformers",
    }
    /// The engine does not implement this kind of model.
    pub MODEL_UNSUPPORTED = Environment "model-unsupported": "the engine does not implement this kind of model" {
        "cause": "another architecture, activation, position embedding, pooling mode or pipeline module",
        "fix": "use a sentence-transformers BERT model with mean or cls pooling",
    }
    /// The weight file is shorter or longer than its header states.
    pub MODEL_FILE_LENGTH = Environment "model-file-length": "the weight file has another length than its header states" {
        "cause": "a download or a copy is incomplete, or data was appended",
        "fix": "compare `sha256sum` of the file with the publisher's digest and fetch the file again",
    }
    /// The weight file lacks tensors that the configuration requires.
    pub TENSOR_MISSING = Environment "tensor-missing": "the weight file lacks required tensors" {
        "cause": "config.json and model.safetensors belong to different models",
        "fix": "fetch the model folder again",
    }
    /// A tensor has another shape than the configuration requires.
    pub TENSOR_SHAPE = Environment "tensor-shape": "a tensor has another shape than the configuration requires" {
        "cause": "config.json and model.safetensors belong to different models",
        "fix": "fetch the model folder again",
    }
    /// A tensor has an element type that the engine does not read.
    pub TENSOR_DTYPE = Environment "tensor-dtype": "a tensor has an unsupported element type" {
        "cause": "the weights were saved in another precision than float32",
        "fix": "load the model with torch_dtype=torch.float32 and save it again",
    }
    /// A tensor does not start on a 4-byte boundary.
    pub TENSOR_ALIGNMENT = Environment "tensor-alignment": "a tensor does not start on a 4-byte boundary" {
        "cause": "safetensors before 0.3.1 wrote the weights, or the embedded file lies in an unaligned static",
        "fix": "save the weights again with safetensors 0.3.1 or newer",
    }
    /// The worker threads cannot be started.
    pub WORKER_THREADS = Environment "worker-threads": "the worker threads cannot be started" {
        "cause": "a limit of the system on threads or on address space",
        "fix": "check `ulimit -u` and `ulimit -v`, or configure fewer threads",
    }
    /// The tokenizer refused a text.
    pub TOKENIZE = Usage "tokenize": "the tokenizer refused a text" {
        "cause": "the text has a word of more than 128 KiB (32 KiB if it has other characters than ASCII letters and digits), or the tokenizer of the model has no token for a part of it",
        "fix": "split the text",
    }
    /// A sequence of token ids is empty or too long.
    pub SEQUENCE_LENGTH = Usage "sequence-length": "a sequence of token ids is empty or too long" {
        "cause": "the engine does not truncate token ids: it uses them as they are",
        "fix": "truncate the sequence to the number of tokens that the model reads",
    }
    /// A token id is not in the vocabulary.
    pub UNKNOWN_TOKEN = Usage "unknown-token": "a token id is not in the vocabulary of the model" {
        "cause": "tokenizer.json and model.safetensors belong to different models, or the request holds ids of another model",
        "fix": "fetch the model folder again, or tokenize with the same model",
    }
    /// A worker panicked.
    pub WORKER_PANIC = Environment "worker-panic": "a worker panicked while it computed a call" {
        "cause": "a defect of the engine or of a library; the message of the panic is on stderr",
        "fix": "report the message together with the text",
    }
    /// The caller cancelled the call.
    pub CALL_CANCELLED = Interrupted "call-cancelled": "the caller cancelled the call" {
        "cause": "the client disconnected, a deadline expired, or the program shuts down",
        "fix": "repeat the call",
    }
    /// The weight file was modified after it was opened.
    pub WEIGHTS_CHANGED = Environment "weights-changed": "the weight file was modified after it was opened" {
        "cause": "a program wrote to the file in place or truncated it, so no vector of this model is reliable",
        "fix": "replace the file by rename, then open the model again",
    }
}
