//! Throwaway database servers, a link that can be cut, and a clinic at work, for headwater's
//! tests, demo and benches.
