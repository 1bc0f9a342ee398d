//! Laws that hold for all requests, answers and streams.
