//! Promotions of lanes.

use hyper::Method;

use super::{CallError, Client, path};
use crate::{
    resource::Key,
    rest::{PREFIX, PromotionNextRequest, PromotionRequest, PromotionStatus},
};

impl Client {
    /// How the promotion of a lane stands, by the lane's object; refused with 404 where it is not being promoted.
    pub async fn promotion(&self, lane: &Key) -> Result<PromotionStatus, CallError> {
        self.call(Method::GET, &path::of_promotion(lane, ""), None::<&()>).await
    }

    /// Every promotion, those that have ended lately too; without what must hold.
    pub async fn promotions(&self) -> Result<Vec<PromotionStatus>, CallError> {
        self.call(Method::GET, &format!("{PREFIX}/promotions"), None::<&()>).await
    }

    /// Begins to promote a lane.
    pub async fn start_promotion(
        &self,
        lane: &Key,
        request: &PromotionRequest,
    ) -> Result<PromotionStatus, CallError> {
        self.call(Method::POST, &path::of_promotion(lane, ""), Some(request)).await
    }

    /// Goes on to the next step.
    pub async fn go_on_promoting(
        &self,
        lane: &Key,
        request: &PromotionNextRequest,
    ) -> Result<PromotionStatus, CallError> {
        self.call(Method::POST, &path::of_promotion(lane, "/next"), Some(request)).await
    }

    /// Ends a promotion; what it has changed of the lane is as before.
    pub async fn abandon_promotion(&self, lane: &Key) -> Result<PromotionStatus, CallError> {
        self.call(Method::POST, &path::of_promotion(lane, "/abandon"), None::<&()>).await
    }
}
