//! The interface that scripts rely on: ready line, exit codes, JSON shapes, help.
