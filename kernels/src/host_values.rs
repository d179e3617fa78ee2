//! Values on their way to the host.

use std::future::Future;
use std::pin::Pin;

use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_backend::{ExecutionError, read_sync};

/// Values of a tensor that the host asks for now and looks at later. On a GPU they are copied in their
/// place among the device's work, so that nothing enqueued after them is waited for. (`into_data` copies
/// when its bytes are looked at, behind everything; so are these with the feature `fusion`.)
pub struct HostValues(Read);

type Read = Pin<Box<dyn Future<Output = Result<TensorData, ExecutionError>> + Send>>;

impl HostValues {
    /// Asks for the values, as float32. The gradients of a tensor are nothing to it.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let tensor = match tensor.is_autodiff() {
            true => tensor.inner(),
            false => tensor,
        };
        HostValues(begin(tensor.cast(FloatDType::F32)))
    }

    /// The values, once they are there.
    ///
    /// # Panics
    /// Where the device failed.
    pub fn wait(self) -> Vec<f32> {
        let data = read_sync(self.0).expect("the device computes what was asked for");
        data.try_to_vec().expect("the tensor was cast to float32")
    }
}

/// Behind fusion a tensor has no place among the device's work before something needs it.
#[cfg(feature = "fusion")]
fn begin<const D: usize>(tensor: Tensor<D>) -> Read {
    Box::pin(tensor.into_data_async())
}

#[cfg(not(feature = "fusion"))]
use on_the_device::begin;

#[cfg(not(feature = "fusion"))]
mod on_the_device {
    use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
    use burn_backend::ops::FloatTensorOps;
    use burn_flex::Flex;

    use super::{Read, Tensor};

    pub(super) fn begin<const D: usize>(tensor: Tensor<D>) -> Read {
        <Dispatch as HostValuesOps>::begin_read(tensor.into_dispatch())
    }

    /// The operation on a backend's own tensors.
    #[backend_extension(Cube: cfg(feature = "cube"), Flex)]
    trait HostValuesOps: Backend {
        fn begin_read(x: FloatTensor<Self>) -> Read;
    }

    impl HostValuesOps for Flex {
        fn begin_read(x: FloatTensor<Self>) -> Read {
            Box::pin(Flex::float_into_data(x))
        }
    }

    #[cfg(feature = "cube")]
    impl HostValuesOps for burn_cubecl::CubeBackend {
        fn begin_read(x: FloatTensor<Self>) -> Read {
            use burn::tensor::TensorData;
            use burn_backend::ExecutionError;
            use cubecl::server::CopyDescriptor;

            let x = crate::cube::contiguous(x);
            let (shape, strides) = (x.meta.shape.clone(), x.meta.strides.clone());
            let (dtype, client) = (x.dtype, client(&x));
            let from =
                CopyDescriptor::new(x.handle.binding(), shape.clone(), strides, dtype.size());
            // Enqueued here; the future is for the end of it.
            let bytes = client.read_one_tensor_async(from);
            Box::pin(async move {
                let failed = |error| ExecutionError::with_context(format!("{error}"));
                let bytes = bytes.await.map_err(failed)?;
                Ok(TensorData::from_bytes(bytes, shape, dtype))
            })
        }
    }

    /// The client of a tensor's device, which stays for good: a read borrows it.
    #[cfg(feature = "cube")]
    fn client(x: &burn_cubecl::tensor::CubeTensor) -> &'static cubecl::client::Client {
        use std::sync::Mutex;

        use burn_cubecl::CubeDevice;
        use cubecl::client::Client;

        static CLIENTS: Mutex<Vec<(CubeDevice, &'static Client)>> = Mutex::new(Vec::new());
        let mut clients = CLIENTS.lock().expect("nothing panics while it is held");
        if let Some((_, client)) = clients.iter().find(|(device, _)| *device == x.device) {
            return client;
        }
        let client: &'static Client = Box::leak(Box::new(x.client.clone()));
        clients.push((x.device.clone(), client));
        client
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::device;
    use crate::parity::float32;

    #[test]
    fn values_are_those_of_the_moment_they_were_asked_for() {
        for (device_name, device) in device::for_tests() {
            let x: Tensor<2> = float32(&[1.0, -2.0, 0.5, 4.0, 8.0, 3.0], [2, 3], &device);
            let asked = HostValues::of(x.clone().transpose());
            let later = x.mul_scalar(2.0);
            let want = [1.0, 4.0, -2.0, 8.0, 0.5, 3.0];
            assert_eq!(asked.wait(), want, "{device_name}");
            // Nothing else holds these, so that they are doubled where they lie.
            let asked = HostValues::of(later.clone());
            let _in_place = later.mul_scalar(2.0);
            let want = [2.0, -4.0, 1.0, 8.0, 16.0, 6.0];
            assert_eq!(asked.wait(), want, "{device_name}");
        }
    }

    #[test]
    fn a_tensor_with_gradients_and_one_in_half_precision_are_read() {
        let device = burn::tensor::Device::flex().autodiff();
        let x = Tensor::<1>::full([3], 0.5, (&device, DType::BF16)).require_grad();
        assert_eq!(HostValues::of(x).wait(), [0.5; 3]);
    }
}
