//! Both framings together.
