//! The API's handlers, one file for each family of endpoints.

pub mod account;
pub mod admin;
pub mod counter;
pub mod health;
pub mod oauth;
pub mod openapi;
pub mod pages;
