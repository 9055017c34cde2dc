//! Support for the behaviour tests: real peers, generators, oracles.
